"""The page behind a link, in Chromium: what it shows, and that nothing of somebody else's runs in it. share.py LINK KEDGE [SHOTS]"""
import os
import socket
import subprocess
import sys
import threading
import time

from front import browser


def main(link, kedge, shots=""):
    elsewhere = listener()
    with browser(f"--host-resolver-rules=MAP *.example.com 127.0.0.1:{elsewhere.getsockname()[1]}", viewport={"width": 1100, "height": 900}) as open_page:
        page = open_page()
        asked, blocked, said = [], set(), []
        page.on("request", lambda r: asked.append(r.url))
        page.on("requestfailed", lambda r: blocked.update([r.url] if r.failure == "csp" else []))
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
        strange = [u for u in asked if not u.startswith((server + "/", "data:", "about:")) and u not in blocked]
        assert not strange, strange
        assert elsewhere.met == 0, f"{elsewhere.met} connections to where outputs lead"
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
        other = open_page()
        other.goto(link.split("#")[0])
        other.locator("#state", has_text="not whole").wait_for()
        subprocess.run([kedge, "revoke", link], check=True, stdout=subprocess.DEVNULL)
        page.locator("#state", has_text="was revoked").wait_for(timeout=10_000)
        other.goto("about:blank")
        other.goto(link)
        other.locator("#state", has_text="was revoked").wait_for()


class Listener(socket.socket):
    """Counts who connects."""
    met = 0


def listener():
    """A port of this machine at which nobody may call."""
    s = Listener()
    s.bind(("127.0.0.1", 0))
    s.listen()

    def serve():
        while True:
            s.accept()[0].close()
            s.met += 1

    threading.Thread(target=serve, daemon=True).start()
    return s


def token(link):
    return link.split("#")[1]


main(*sys.argv[1:])
