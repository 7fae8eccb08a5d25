"""The page behind a link, in Chromium: what it shows, and that nothing of somebody else's runs in it. share.py LINK KEDGE OTHER"""
import socket
import subprocess
import sys
import threading
import time

from front import browser


def main(link, kedge, earlier):
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
        page.wait_for_selector("#environment")
        took = time.monotonic() - began
        first, paint = page.evaluate("() => ['first', 'notebook'].map(n => performance.getEntriesByName(n)[0].startTime)")
        print(f"the first cells are painted after {first:.0f} ms, the notebook after {paint:.0f} ms, all is there after {1000 * took:.0f} ms", file=sys.stderr)
        text = page.inner_text("main")
        for word in ("large", "bytearray", "<script>owned=1</script>", "out/model.txt", "helper.py", "Variables", "What led here", "import helper", "62 True 62", "kedge open"):
            assert word in text, (word, text[:3000])
        assert page.locator(".cell").count() >= 100, page.locator(".cell").count()

        # Nothing of the outputs runs, is loaded, or leads elsewhere.
        page.wait_for_timeout(500)
        page.locator(".output .frame, .output iframe").first.scroll_into_view_if_needed()
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

        markdown(page)
        graph(page)
        values(page)
        files(page)
        changes(page, link, earlier)
        page.wait_for_timeout(300)
        assert page.evaluate("() => window.owned === undefined"), "something of a variable or file ran"
        assert elsewhere.met == 0, f"{elsewhere.met} connections to where files lead"
        assert token(earlier) not in " ".join(asked), "the other token is in an address"
        for width in (1100, 400):
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("() => document.scrollingElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{wide} pixels too wide for a screen of {width}"

        # Without the token nothing is shown; and who looks sees the end.
        other = open_page()
        other.goto(link.split("#")[0])
        other.locator("#state", has_text="not whole").wait_for(timeout=15_000)
        subprocess.run([kedge, "revoke", link], check=True, stdout=subprocess.DEVNULL)
        page.locator("#state", has_text="was revoked").wait_for(timeout=10_000)
        other.goto("about:blank")
        other.goto(link)
        other.locator("#state", has_text="was revoked").wait_for(timeout=15_000)


def markdown(page):
    """What a text says is there, and nothing that it tries to be."""
    page.wait_for_function("() => performance.getEntriesByName('prose').length")
    assert page.inner_text(".prose h2") == "A heading"
    assert page.inner_text(".prose li em") == "one" and page.locator(".prose td").all_text_contents() == ["1", "2"]
    leads = page.locator(".prose a").evaluate_all("all => all.map(a => [a.textContent, a.getAttribute('href'), a.rel])")
    assert leads == [["link", None, ""], ["two", "https://example.com/two", "noopener noreferrer nofollow"]], leads
    assert page.locator(".prose").locator("img, style, form, script").count() == 0
    assert "[far]" in page.inner_text(".prose")


def graph(page):
    """The steps are drawn, with what flows between them, and lead to their cells."""
    boxes = page.locator("#steps .box text").all_text_contents()
    assert boxes == ["imports", "read", "large", "fit", "use", "frame"], boxes
    edges = page.locator("#steps .edge title").all_text_contents()
    assert any("fit → use: " in e and "model" in e for e in edges), edges
    page.locator("#steps").scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # frames above that come into view have another height
    page.locator("#steps .box", has_text="fit").click()
    until(page, "() => Math.abs([...document.querySelectorAll('.step')].find(e => e.textContent === 'fit').getBoundingClientRect().top) < 60")
    page.locator("#steps summary").click()
    page.locator("#steps table").wait_for()
    assert "model, rows, out/model.txt" in page.inner_text("#steps table"), page.inner_text("#steps table")


def values(page):
    """Frames as a table with what their columns hold, arrays with their corner and levels."""
    frame = page.locator(".variable", has=page.get_by_text("frame", exact=True))
    frame.locator("summary").click()
    frame.locator(".preview").wait_for()
    shown = frame.inner_text()
    for word in ("<img src=x onerror=owned=1>", "float64", "1.5 … 2.5", "b 2", "</td><script>owned=1</s… 1"):
        assert word in shown, (word, shown)
    assert frame.locator("svg rect").count() >= 2
    waves = page.locator(".variable", has=page.get_by_text("waves", exact=True))
    waves.locator("summary").click()
    waves.locator(".preview").wait_for()
    assert "20 × 30" in waves.inner_text() and waves.locator("svg[aria-label=levels] rect").count() > 200
    assert "Modules, functions and classes: " in page.inner_text("#variables") and page.locator("#variables script, #variables img, #variables iframe").count() == 0


def files(page):
    """Rows of tables, pictures as pictures, texts as texts."""
    for name, see in {"in.csv": "td >> text=2", "evil.csv": "td >> text=</td><script>owned=1</script>", "evil.svg": "img", "helper.py": "pre >> text=return 2 * x", "out/model.txt": "pre >> text=62"}.items():
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("#files .preview").filter(has=page.locator(see)).first.wait_for(timeout=15_000)
    assert page.locator("#files img").get_attribute("src").startswith("data:image/svg+xml;base64,")
    until(page, "() => document.querySelector('#files img').naturalWidth === 20")


def changes(page, link, earlier):
    """Since a step of its own, and against another link."""
    page.locator("#compare select").select_option(label="step large")
    page.locator("#difference td >> text=model").first.wait_for(timeout=15_000)
    assert "large" not in page.inner_text("#difference table"), page.inner_text("#difference")
    page.locator("#compare input").fill(earlier)
    page.get_by_role("button", name="Compare").click()
    page.locator("#difference", has_text="model = Model(20)").wait_for(timeout=15_000)
    shown = page.inner_text("#difference")
    for word in ("cell fit changed", "- model = Model(20)", "+ model = Model(30)", "cell frame added", "waves", "out/model.txt", "- 42", "+ 62", "are in both"):
        assert word in shown, (word, shown)
    for wrong in ("https://example.com/s/0123456789abcdef#a.b", link.split("#")[0], "javascript:owned=1", "x"):
        page.locator("#compare input").fill(wrong)
        page.locator("#compare input").press("Enter")
        page.locator("#difference", has_text="no link of this server").wait_for(timeout=15_000)
        page.locator("#difference").evaluate("e => e.replaceChildren()")
    page.locator("#compare input").fill(earlier[:-6] + "AAAAAA")
    page.locator("#compare input").press("Enter")
    page.locator("#difference", has_text="does not let you in").wait_for(timeout=15_000)


def until(page, holds):
    """wait_for_function, which the page's policy forbids."""
    for _ in range(100):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(holds)


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
