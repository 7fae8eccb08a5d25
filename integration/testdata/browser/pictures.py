"""Pictures of the page behind a link for the docs. pictures.py LINK OTHER FOLDER

The link is to the iris example, OTHER to the same with fewer trees.
"""
import os
import sys

from front import browser


def main(link, other, folder):
    with browser(viewport={"width": 1040, "height": 860}) as open_page:
        page = open_page()
        page.goto(link)
        page.locator("#environment").wait_for()
        page.wait_for_timeout(1000)  # frames of outputs
        page.screenshot(path=os.path.join(folder, "share.png"))
        data = page.locator(".variable", has=page.get_by_text("data", exact=True))
        data.locator("summary").click()
        data.locator(".preview").wait_for()
        page.evaluate("() => document.getElementById('steps').scrollIntoView()")
        page.wait_for_timeout(500)
        page.screenshot(path=os.path.join(folder, "share-values.png"))
        page.locator("#compare input").fill(other)
        page.get_by_role("button", name="Compare").click()
        page.locator("#difference table").first.wait_for()
        page.locator("#compare input").fill(other.split("#")[0] + "#…")
        page.locator("#compare").screenshot(path=os.path.join(folder, "share-diff.png"))


main(*sys.argv[1:])
