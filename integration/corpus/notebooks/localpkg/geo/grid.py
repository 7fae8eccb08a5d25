from . import Point

CELL = 0.5


def snap(point):
    return Point(round(point.lat / CELL) * CELL, round(point.lon / CELL) * CELL)
