"""Bytes of plain values that are equal whenever the values are.

A pickle says which of its parts are one object: a string that was read back from one state and the same string in
another are two. Here nothing refers to what came before.
"""
from __future__ import annotations

import io
import pickle
from typing import Any


def dumps(value: Any) -> bytes:
    """value, to be read by pickle.loads; ValueError if it is part of itself."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5)
    pickler.fast = True
    pickler.dump(value)
    return file.getvalue()
