"""The page behind a link, in Chromium: what it shows, and that nothing of somebody else's runs in it. share.py LINK KEDGE [SHOTS]"""
import os
import shutil
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(link, kedge, shots=""):
    browser_path = os.environ.get("KEDGE_TEST_CHROMIUM") or next(p for p in map(shutil.which, BROWSERS) if p)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        asked, said = [], []
        page.on("request", lambda r: asked.append(r.url))
        page.on("console", lambda m: said.append(m.text))
        page.on("dialog", lambda d: said.append("dialog: " + d.message))
        began = time.monotonic()
        page.goto(link)
        page.wait_for_selector("#notebook")
        took = time.monotonic() - began
        paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        print(f"first paint {paint:.0f} ms, all there after {1000 * took:.0f} ms", file=sys.stderr)
        if shots:
            page.screenshot(path=os.path.join(shots, "share.png"))
        text = page.inner_text("main")
        for word in ("large", "bytearray", "out/model.txt", "helper.py", "Variables", "What led here", "import helper", "42 True 42", "kedge open"):
            assert word in text, (word, text[:3000])
        assert page.locator(".cell").count() >= 100, page.locator(".cell").count()

        # Nothing of the outputs runs, is loaded, or leads elsewhere.
        page.wait_for_timeout(500)
        page.locator("iframe").first.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        assert page.evaluate("() => window.owned === undefined") and "Kedge" in page.title(), page.title()
        assert page.url == link, page.url
        server = link[:link.index("/s/")]
        strange = [u for u in asked if not u.startswith((server + "/", "data:", "about:"))]
        assert not strange, strange
        assert not [s for s in said if s.startswith("dialog") or "owned" in s], said
        inner = page.frames[1]
        assert inner.locator("#bold").inner_text() == "shown", "the frame shows nothing"
        assert inner.evaluate("() => { try { return String(parent.document.title) } catch (e) { return e.name } }") == "SecurityError"
        assert token(link) not in " ".join(asked), "the token is in an address"

        button = page.get_by_role("button", name="in.csv")
        button.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)  # frames above that come into view have another height
        button.click()
        page.locator("#files pre", has_text="a,1").wait_for()
        page.set_viewport_size({"width": 390, "height": 800})
        wide = page.evaluate("() => document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{wide} pixels too wide for a narrow screen"
        if shots:
            page.screenshot(path=os.path.join(shots, "share-narrow.png"))

        # Without the token nothing is shown; and who looks sees the end.
        other = browser.new_page()
        other.goto(link.split("#")[0])
        other.locator("#state", has_text="not whole").wait_for()
        subprocess.run([kedge, "revoke", link], check=True, stdout=subprocess.DEVNULL)
        page.locator("#state", has_text="was revoked").wait_for(timeout=10_000)
        other.goto("about:blank")
        other.goto(link)
        other.locator("#state", has_text="was revoked").wait_for()
        browser.close()


def token(link):
    return link.split("#")[1]


main(*sys.argv[1:])
