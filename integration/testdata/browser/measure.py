"""What Kedge's extension costs in JupyterLab: a page's load with it and without, and the time from a key to the last badge.

usage: measure.py FOLDER ROUNDS. JUPYTER_PATH has a Kedge kernel called python3 and the extension. The folder is made.
"""
import json
import os
import statistics
import sys

import nbformat
from front import Notebook, browser, served

CELLS = 200
STALE = """count => new Promise(resolve => {
  const cells = () => document.querySelectorAll('[data-kedge-state="stale"], [data-kedge-state="uncached"]').length;
  const done = () => { if (cells() >= count) { watcher.disconnect(); resolve(performance.now() - window.pressed); } };
  const watcher = new MutationObserver(done);
  watcher.observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-kedge-state']});
  done();
})"""


def write(path, cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s, id=f"c{i}", metadata={"tags": [f"step:s{i}"]}) for i, s in enumerate(cells)])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(nb, path)


def load(page, address):
    """How long a page takes until its notebook can be used, in ms."""
    page.goto("about:blank")
    page.goto(address, wait_until="commit")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context?.isReady && document.querySelector('.jp-CodeCell')")
    return page.evaluate("performance.now()")


def keys(nb, rounds):
    """Times from a key in the first cell to the badge of the last, in ms: every cell reads what the first binds."""
    nb.run_all()
    nb.page.wait_for_function("count => document.querySelectorAll('[data-kedge-state=\"fresh\"], [data-kedge-state=\"restored\"]').length >= count", arg=CELLS)
    nb.page.evaluate("() => document.addEventListener('keydown', () => { window.pressed = performance.now() }, true)")
    times = []
    for i in range(rounds):
        nb.page.locator(".jp-CodeCell .cm-content").first.click()
        nb.page.keyboard.press("Control+End")
        last = nb.page.evaluate("count => { window.all = (" + STALE + ")(count) }", CELLS)
        nb.page.keyboard.press(str(i % 9 + 1))
        times.append(nb.page.evaluate("window.all", last))
        nb.page.keyboard.press("Backspace")
        nb.page.wait_for_function("() => document.querySelectorAll('[data-kedge-state=\"stale\"]').length === 0")
    return times


def main(folder, rounds):
    os.makedirs(folder)
    write(os.path.join(folder, "load.ipynb"), ["x = 1"] + [f"y{i} = {i}" for i in range(40)])
    write(os.path.join(folder, "keys.ipynb"), ["x = 1"] + [f"y{i} = x + {i}" for i in range(1, CELLS)])
    config = os.path.join(folder, "without")
    os.makedirs(os.path.join(config, "labconfig"))
    with open(os.path.join(config, "labconfig", "page_config.json"), "w") as f:
        json.dump({"disabledExtensions": {"kedge-lab": True}}, f)
    with served(folder, os.path.join(folder, "with")) as ours, browser(viewport={"width": 1200, "height": 900}) as open_page:
        os.environ["JUPYTER_PREFER_ENV_PATH"], os.environ["JUPYTER_CONFIG_PATH"] = "1", config
        with served(folder, os.path.join(folder, "plain")) as plain:
            page, times = open_page(), {"with": [], "without": []}
            for address in (ours, plain):
                load(page, f"{address}/lab/tree/load.ipynb?token=t")
                found = page.evaluate("() => jupyterapp.commands.hasCommand('kedge:tag-cell')")
                assert found == (address == ours), f"{address}: the extension is {'there' if found else 'missing'}"
            for _ in range(rounds):
                times["with"].append(load(page, f"{ours}/lab/tree/load.ipynb?token=t"))
                times["without"].append(load(page, f"{plain}/lab/tree/load.ipynb?token=t"))
        a, b = statistics.median(times["with"]), statistics.median(times["without"])
        ratios = [x / y for x, y in zip(times["with"], times["without"], strict=True)]
        print(f"load of a page: {a:.0f} ms with the extension, {b:.0f} without; {statistics.median(ratios):.3f}x, median of {rounds} pairs", flush=True)
        got = keys(Notebook(page, f"{ours}/lab/tree/keys.ipynb?token=t"), rounds)
        print(f"key to the last badge of {CELLS} cells: {statistics.median(got):.0f} ms, {max(got):.0f} at most, {rounds} times")


main(sys.argv[1], int(sys.argv[2]))
