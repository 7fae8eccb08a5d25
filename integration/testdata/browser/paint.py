"""How long the page behind a link takes in Chromium: until its first cells and its notebook are painted, and until all is there.

usage: paint.py LINK ROUNDS

Each round is a page of its own, and nothing of it is kept by the browser. Printed is a JSON object of lists of ms since
the navigation began; the first round, for which Chromium itself gets ready, is left out.
"""
import json
import sys

from front import browser

# The page sets a mark in the task after the frame that first shows something.
MARKS = """() => [...['first', 'notebook'].map(n => performance.getEntriesByName(n)[0].startTime), performance.now(),
  performance.getEntriesByType('resource').reduce((n, r) => n + r.encodedBodySize, 0)]"""


def main(link, rounds):
    times = []
    with browser(viewport={"width": 1100, "height": 900}) as open_page:
        for _ in range(int(rounds) + 1):
            page = open_page()
            page.goto(link, wait_until="commit")
            page.wait_for_selector("#environment", state="attached")
            times.append(page.evaluate(MARKS))
            cells = page.locator(".cell").count()
            page.close()
    first, paint, there, size = zip(*times[1:], strict=True)
    print(json.dumps({"first": first, "painted": paint, "all": there, "bytes": size[0], "cells": cells}))


main(*sys.argv[1:])
