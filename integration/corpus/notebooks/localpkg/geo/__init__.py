import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    lat: float
    lon: float


def distance(a, b):
    """Kilometres on a sphere."""
    la, lb = math.radians(a.lat), math.radians(b.lat)
    d = math.radians(b.lon - a.lon)
    h = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin(d / 2) ** 2
    return 6371 * 2 * math.asin(math.sqrt(h))
