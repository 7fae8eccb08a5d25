"""Small things that several notebooks use."""
import numpy as np

from texts import squeeze

DEFAULT = 1.0


def clean(labels):
    """Labels in title case, without blanks around them."""
    return [squeeze(label).title() for label in labels]


def scale(values, factor=DEFAULT):
    return np.asarray(values) * factor
