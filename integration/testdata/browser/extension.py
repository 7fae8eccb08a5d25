"""Kedge's extension in JupyterLab and in Notebook 7: tags, badges, rerun from the changed cell, restore, branch.

usage: extension.py FOLDER [SCREENSHOTS]. The folder is made, and holds the notebooks and Jupyter's settings.
"""
import json
import os
import subprocess
import sys

import nbformat
from front import Notebook, browser, served

CELLS = [
    ("a", [], "import time\nrows = ['{front}', time.time_ns()]\ntime.sleep(.2)\nrows"),
    ("b", [], "clean = rows[:1] + [1]\nopen('clean.txt', 'w').write(str(clean))\nprint(clean)"),
    ("c", [], "total = len(clean)\nprint('total', total)"),
]
EDITED = "clean = rows[:1] + [2, 3]  # {front}\nassert '{front}'\nopen('clean.txt', 'w').write(str(clean))\nprint(clean)"


def write(path, front, kernel="python3", cells=CELLS):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s.replace("{front}", front).replace("{n}", str(800 + ord(front[0]))), id=i, metadata={"tags": t} if t else {}) for i, t, s in cells])
    nb.cells.insert(1, nbformat.v4.new_markdown_cell("Words between.", id="words"))
    nb.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(nb, path)


class Lab(Notebook):
    """A notebook whose page has the extension."""

    def start(self, name, *args):
        """Start a command of ours, without waiting for its end; what it asks is answered by the caller."""
        self.page.evaluate("name => { window.done = undefined; jupyterapp.commands.execute(name).then(() => { window.done = true }) }", name)

    def ended(self):
        self.page.wait_for_function("() => window.done")

    def accept(self):
        """Go on from the question that is asked; returns its text."""
        text = self.page.inner_text(".jp-Dialog-content")
        assert self.page.query_selector(".jp-Dialog .jp-mod-accept"), f"no question: {text}"
        self.page.click(".jp-Dialog .jp-mod-accept")
        self.page.wait_for_selector(".jp-Dialog", state="detached")
        return text

    def do(self, name):
        """Run a command of ours and go on from its question; returns its text."""
        self.start(name)
        text = self.accept()
        self.ended()
        return text

    def select(self, place):
        """Make a code cell the active one."""
        self.page.evaluate("""place => {
          const notebook = jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = notebook.widgets.indexOf(notebook.widgets.filter(w => w.model.type === 'code')[place]);
          notebook.mode = 'command';
          notebook.activeCell.node.focus();  // as by a click: when a dialog ends, JupyterLab 4.2 makes the cell active that had the focus
        }""", place)

    def stand(self):
        """[(state, step)] of the code cells."""
        return self.page.evaluate("() => [...jupyterapp.shell.currentWidget.node.querySelectorAll('.jp-CodeCell')].map(n => [n.dataset.kedgeState, n.dataset.kedgeStep])")

    def until(self, *states):
        """Wait until the code cells stand like this; "" is anyhow."""
        try:
            self.page.wait_for_function("want => { const now = [...jupyterapp.shell.currentWidget.node.querySelectorAll('.jp-CodeCell')].map(n => n.dataset.kedgeState);"
                                        " return now.length === want.length && now.every((s, i) => !want[i] || s === want[i]) }", arg=list(states))
        except Exception as err:
            raise AssertionError(f"{[(*s, self.why(i)) for i, s in enumerate(self.stand())]}, want {states}") from err

    def in_steps(self, *steps):
        """Wait until the code cells are in these steps."""
        self.page.wait_for_function("want => JSON.stringify([...jupyterapp.shell.currentWidget.node.querySelectorAll('.jp-CodeCell')].map(n => n.dataset.kedgeStep)) === JSON.stringify(want)",
                                    arg=list(steps))

    def why(self, place):
        return self.page.evaluate("place => jupyterapp.shell.currentWidget.node.querySelectorAll('.jp-CodeCell')[place].getAttribute('aria-description')", place)

    def tag(self, place, name, after=()):
        """Tag a cell by the keyboard, as a person does."""
        self.select(place)
        self.start("kedge:tag-cell")
        self.page.wait_for_selector("#kedge-Step")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(name)
        for step in after:
            self.page.check(f".kedge-Chip input[value={step}]")
        self.page.locator("#kedge-Step").press("Enter")
        self.page.wait_for_selector(".jp-Dialog", state="detached")
        self.ended()

    def metadata(self):
        """The metadata of the notebook and of its cells, without the tags."""
        return self.page.evaluate("""() => {
          const {metadata, cells} = jupyterapp.shell.currentWidget.model.toJSON();
          return [metadata, ...cells.map(({metadata: {tags, ...rest}}) => rest)];
        }""")

    def tags(self):
        return self.page.evaluate("() => [...jupyterapp.shell.currentWidget.model.cells].filter(c => c.type === 'code').map(c => c.getMetadata('tags') ?? null)")


class Ear:
    """What the kernels are asked to run, from what Jupyter's server prints of them."""

    def __init__(self, said):
        self.said = said
        self.at = 0

    def heard(self):
        """The code that reached kernels since the last call, without what front ends ask for silently."""
        lines = self.said[self.at:]
        self.at += len(lines)
        return [json.loads(line.partition("heard: ")[2]) for line in lines if "heard: " in line]


def first_lines(codes):
    return [c.split("\n")[0] for c in codes if "debugpy" not in c]


def check(nb, ear, front):
    nb.page.locator(".jp-NotebookPanel-toolbar [data-command='kedge:rerun-from-changed']").wait_for()
    nb.until("none", "none", "none")
    was = nb.metadata()
    nb.tag(0, "load")
    nb.until("stale", "stale", "stale")
    nb.tag(1, "clean", after=["load"])
    nb.tag(2, "total")
    assert nb.tags() == [["step:load"], ["step:clean", "prev:load"], ["step:total"]], nb.tags()
    assert nb.metadata() == was, (nb.metadata(), was)
    nb.in_steps("load", "clean", "total")
    nb.until("stale", "stale", "stale")
    assert "never run" in nb.why(0), nb.why(0)
    ear.heard()
    assert [m[1] for m in nb.run_all()] == ["ran"] * 3
    nb.until("fresh", "fresh", "fresh")
    assert first_lines(ear.heard()) == ["import time", "clean = rows[:1] + [1]", "total = len(clean)"]

    # An edit is seen before anything runs, and so is what depends on it.
    nb.type(1, EDITED.replace("{front}", front))
    nb.until("fresh", "stale", "stale")
    assert "code edited" in nb.why(1) and "clean may change" in nb.why(2), (nb.why(1), nb.why(2))
    cold = nb.cells()
    ear.heard()
    text = nb.do("kedge:rerun-from-changed")
    assert "2 cells will run" in text and "1 will be restored" in text, text
    nb.until("restored", "fresh", "fresh")
    assert first_lines(ear.heard()) == ["clean = rows[:1] + [2, 3]  # " + front, "total = len(clean)"]
    cells = nb.cells()
    assert cells[0] == cold[0] and [c[1] for c in cells] == [1, 2, 3] and "total 3" in str(cells[2][2]), cells

    # A restored name completes: the kernel has it.
    assert "rows" in nb.complete("ro"), nb.complete("ro")

    # Restore to the first cell after a restart.
    nb.restart()
    nb.until("fresh", "fresh", "fresh")
    nb.select(0)
    ear.heard()
    nb.do("kedge:restore-here")
    nb.until("restored", "fresh", "fresh")
    assert first_lines(ear.heard()) == []
    assert nb.ask("'rows' in globals(), 'clean' in globals()") == "(True, False)"

    # Recompute runs although nothing has changed.
    nb.select(2)
    nb.start("kedge:restore-here")
    nb.accept()
    nb.ended()
    nb.until("restored", "restored", "restored")
    nb.select(1)
    ear.heard()
    nb.start("kedge:recompute")
    nb.ended()
    assert first_lines(ear.heard()) == ["clean = rows[:1] + [2, 3]  # " + front]
    nb.until("restored", "fresh", "restored")

    # A name that is none changes nothing.
    nb.select(0)
    nb.start("kedge:tag-cell")
    nb.page.fill("#kedge-Step", "two words")
    nb.page.locator("#kedge-Step").press("Enter")
    nb.page.wait_for_selector("text=cannot be a step")
    nb.page.keyboard.press("Escape")
    nb.ended()
    assert nb.tags()[0] == ["step:load"], nb.tags()

    # Rename a step everywhere, and undo.
    nb.select(0)
    nb.start("kedge:tag-cell")
    nb.page.fill("#kedge-Step", "read")
    nb.page.check("text=rename it in every cell")
    nb.page.locator("#kedge-Step").press("Enter")
    nb.ended()
    assert nb.tags()[:2] == [["step:read"], ["step:clean", "prev:read"]], nb.tags()
    nb.command("notebook:undo-cell-action")
    assert nb.tags()[:2] == [["step:load"], ["step:clean", "prev:load"]], nb.tags()

    # What the cell was seen to read is suggested; every kind is a tag; none touches other metadata.
    nb.in_steps("load", "clean", "total")
    was = nb.metadata()
    for kind in ("imports", "functions", "pipeline-parameters", "pipeline-metrics", "skip"):
        nb.select(2)  # undoing may have gone elsewhere
        nb.start("kedge:tag-cell")
        nb.page.wait_for_selector("#kedge-Step")
        assert nb.page.locator(".kedge-Chip").all_inner_texts() == ["load", "clean: it reads clean"], (kind, nb.page.locator(".kedge-Chip").all_inner_texts())
        nb.page.select_option("#kedge-Kind", kind)
        nb.page.check("text=never cache it")
        nb.page.click(".jp-Dialog .jp-mod-accept")
        nb.ended()
        assert nb.tags()[2] == [kind, "cache:disabled"], nb.tags()
        nb.command("notebook:undo-cell-action")
        assert nb.tags()[2] == ["step:total"], nb.tags()
        nb.in_steps("load", "clean", "total")
    assert nb.metadata() == was, (nb.metadata(), was)


def branch(nb, opened, stem):
    """A branch after the second cell goes on from there in a folder and a kernel of its own; opened(do) is the page that do opens."""
    nb.select(1)
    copy = opened(lambda: nb.start("kedge:branch-here"))
    copy.until("restored", "restored", "fresh")
    assert copy.ask("clean[1:], 'total' in globals(), __import__('os').path.basename(__import__('os').getcwd())") == f"([7], False, '{stem}-branch-1')"
    return copy


def interrupted(nb, ear, front):
    """An interrupt in the middle of a rerun: what ran is recorded, the rest is stale, and the next rerun goes on from there."""
    nb.type(1, f"import time\nclean = rows[:1] + [4]  # {front}\nprint('begun', flush=True)\ntime.sleep(600 if len(rows) else 0)")
    nb.until("restored", "stale", "stale")
    nb.start("kedge:run-stale")
    nb.until("restored", "running", "stale")
    nb.page.wait_for_function("() => document.querySelectorAll('.jp-CodeCell')[1].querySelector('.jp-OutputArea').innerText.includes('begun')")
    nb.command("notebook:interrupt-kernel")
    nb.ended()
    nb.until("restored", "uncached", "stale")
    assert "interrupt" in nb.why(1).lower(), nb.why(1)
    assert nb.ask("rows[0]") == repr(front)
    nb.type(1, f"clean = rows[:1] + [5]  # {front}")
    nb.until("restored", "stale", "stale")
    ear.heard()
    nb.start("kedge:run-stale")
    nb.ended()
    nb.until("restored", "fresh", "fresh")
    assert first_lines(ear.heard()) == [f"clean = rows[:1] + [5]  # {front}", "total = len(clean)"]


def dies(nb, front):
    """The kernel dies in the middle of a rerun: it is started again, and the next rerun goes on from what is kept."""
    nb.type(1, f"import os\nclean = rows[:1] + [6]  # {front}\nos.kill(os.getpid(), 9)")
    nb.until("restored", "stale", "stale")
    nb.start("kedge:run-stale")
    nb.page.wait_for_selector(".jp-Dialog .jp-mod-accept")  # Jupyter says that it has died
    nb.page.click(".jp-Dialog .jp-mod-accept")
    nb.ended()
    nb.idle()
    nb.until("fresh", "stale", "")  # the third may have been on its way, and be heard by the kernel that comes then
    nb.type(1, f"clean = rows[:1] + [7]  # {front}")
    nb.until("fresh", "stale", "")
    nb.start("kedge:run-stale")
    nb.ended()
    nb.until("restored", "fresh", "fresh")


def elsewhere(nb):
    """On a kernel that is not Kedge's there is nothing of ours."""
    nb.run_all()
    assert nb.stand() == [[None, None]] * 3, nb.stand()
    assert nb.page.locator(".kedge-Badge").count() == 0
    assert not nb.page.locator(".jp-NotebookPanel-toolbar [data-command='kedge:rerun-from-changed']").is_visible()
    assert nb.page.evaluate("() => jupyterapp.commands.isVisible('kedge:tag-cell')") is False


SCENE = [
    ("load", ["step:load"], "import csv, io, time\nrows = list(csv.DictReader(io.StringIO(open('trips.csv').read())))\ntime.sleep(1.2)\nlen(rows)"),
    ("clean", ["step:clean", "prev:load"], "trips = [r for r in rows if float(r['km']) > 0]\nprint(len(trips), 'of', len(rows), 'trips')"),
    ("model", ["step:model", "prev:clean"], "price = sum(float(t['price']) for t in trips) / sum(float(t['km']) for t in trips)\ntime.sleep(.4)\nprint(f'{price:.2f} per km')"),
    ("check", ["step:check"], "assert all(r['km'] for r in rows)"),
    ("fares", ["step:fares", "cache:disabled"], "fares = {'night': 1.25}"),
    ("notes", ["skip"], "rows[:3]"),
    ("sweep", ["step:sweep"], "for km in range(1, {n}):\n    time.sleep(1)"),
]


def bytes_(n):
    """A size as the page writes it."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n} B" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024


def recorded(nb, path):
    """What the panel says is what kedge log and kedge show print."""
    def printed(*args):
        return json.loads(subprocess.check_output([os.environ["KEDGE_TEST_BINARY"], *args, "--json"]))
    log = printed("log", path)
    assert nb.entries() == [(e["step"], e["status"], bytes_(e["logical_bytes"])) for e in log], (nb.entries(), log)
    logical, unique = (sum(e[k] for e in log) for k in ("logical_bytes", "unique_bytes"))
    top = nb.page.inner_text(".kedge-Top")
    assert f"Snapshots of {bytes_(logical)} take {bytes_(unique)}" in top, (top, logical, unique)
    shown = {v["name"]: v for v in printed("show", log[0]["snapshot"])["variables"]}
    notes = nb.page.locator(".kedge-Note").all_inner_texts()
    assert f"{bytes_(log[0]['logical_bytes'])}, for which {bytes_(log[0]['unique_bytes'])} were written" in notes[0] and any("rows" in n for n in notes[1:]), notes
    rows = nb.page.locator(".kedge-Entry td").all_inner_texts()
    assert "rows" in rows and shown["rows"]["preview"]["text"] in rows, (rows, shown)
    assert any("saved" in text for text in nb.page.locator(".kedge-Status").all_inner_texts()) == (sum(e["status"] == "restored" for e in log) > 0 and nb.page.locator(".kedge-Status").count() > 0)


def deleted(nb, path):
    """The panel deletes a snapshot, once it is meant; the cell that nothing else restores is stale."""
    head = nb.page.locator(".kedge-Head", has_text="check")
    for left in range(head.count() - 1, -1, -1):
        if head.first.get_attribute("aria-expanded") == "false":
            head.first.click()
        nb.page.locator(".kedge-Entry", has_text="check").get_by_text("Delete").first.click()
        nb.page.wait_for_selector(".jp-Dialog .jp-mod-accept")
        assert "cannot be brought back" in nb.page.inner_text(".jp-Dialog-content")
        nb.page.click(".jp-Dialog .jp-mod-accept")
        nb.page.wait_for_function("n => [...document.querySelectorAll('.kedge-Head')].filter(h => h.innerText.includes('check')).length === n", arg=left)
    log = json.loads(subprocess.check_output([os.environ["KEDGE_TEST_BINARY"], "log", path, "--json"]))
    assert not any(e["step"] == "check" for e in log), log


def scene(nb, shot, path):
    """One notebook in which every state is to be seen, in a light and in a dark theme, and what a rerun asks."""
    for place in (0, 1, 2, 3, 4):
        nb.select(place)
        nb.command("notebook:run-cell")
    nb.until("fresh", "fresh", "fresh", "fresh", "uncached", "none", "stale")
    nb.restart()
    nb.select(0)
    nb.command("notebook:run-cell")
    nb.type(1, "trips = [r for r in rows if float(r['km']) > 1]\nprint(len(trips), 'of', len(rows), 'trips')")
    nb.until("restored", "stale", "stale", "fresh", "uncached", "none", "stale")
    nb.start("kedge:rerun-from-changed")
    nb.page.wait_for_selector(".jp-Dialog .jp-mod-accept")
    shot("question")
    nb.page.keyboard.press("Escape")
    nb.ended()
    nb.select(6)
    nb.page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-cell') }")
    nb.until("restored", "stale", "stale", "fresh", "uncached", "none", "running")
    nb.select(1)
    for theme in ("Light", "Dark"):
        nb.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}")
        nb.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(theme == "Light").lower())
        nb.page.wait_for_selector("#jupyterlab-splash", state="detached")
        shot(theme.lower())
    nb.page.evaluate("() => jupyterapp.shell.activateById('kedge-panel')")
    nb.page.wait_for_selector(".kedge-Entry")
    assert nb.page.locator(".kedge-Node").all_inner_texts()[1].split() == ["clean", "stale"]
    nb.page.locator(".kedge-Head").first.click()
    nb.page.wait_for_selector(".kedge-Entry td")
    shot("panel")
    recorded(nb, path)
    nb.start("kedge:tag-cell")
    nb.page.wait_for_selector("#kedge-Step")
    shot("editor")
    nb.page.keyboard.press("Escape")
    nb.ended()
    nb.command("notebook:interrupt-kernel")
    nb.idle()


def copy_of(nb, opened, stem):
    """The panel opens a snapshot of another version of the notebook as a copy, in which its cells are restored but for what was deleted."""
    entries = nb.page.locator(".kedge-Entry")
    texts = entries.all_inner_texts()
    model = max(i for i, text in enumerate(texts) if text.startswith("model"))
    entries.nth(model).locator(".kedge-Head").click()
    shown = nb.page.locator(".kedge-Entry", has=nb.page.locator("[aria-expanded=true]"), has_text="model")
    copy = opened(lambda: shown.get_by_text("Open a copy").click())
    assert copy.page.evaluate("() => jupyterapp.shell.currentWidget.context.path") == f"{stem}-copy-1/{stem}.ipynb"
    copy.until("restored", "restored", "restored", "stale", "uncached", "none", "uncached")
    assert copy.ask("len(trips) > 0 and price > 0") == "True"


def main():
    folder, shots = sys.argv[1], (sys.argv[2:] + [os.path.join(sys.argv[1], "shots")])[0]
    notebooks = os.path.join(folder, "notebooks")
    os.makedirs(notebooks)
    os.makedirs(shots, exist_ok=True)
    with served(notebooks, folder, "/user/ana/") as address, browser(viewport={"width": 1180, "height": 900}) as page:
        ear = Ear(served.said)
        for name, where in {"JupyterLab": "lab/tree", "Notebook 7": "notebooks"}.items():
            stem = where.split("/")[0]

            def open_(file):
                return Lab(page(), f"{address}/{where}/{file}?token=t")

            def opened(do):
                """The notebook that do opens: in another tab of the page, or in another page."""
                if name == "JupyterLab":
                    was = nb.page.evaluate("() => jupyterapp.shell.currentWidget.context.path")
                    do()
                    nb.page.wait_for_function("was => jupyterapp.shell.currentWidget?.context?.path !== was", arg=was)
                    nb.idle()
                    nb.watch()
                    return nb
                with nb.page.context.expect_page() as other:
                    do()
                copy = Lab(other.value)
                copy.idle()
                return copy

            write(os.path.join(notebooks, f"{stem}.ipynb"), name)
            nb = open_(f"{stem}.ipynb")
            check(nb, ear, name)
            interrupted(nb, ear, name)
            dies(nb, name)
            copy = branch(nb, opened, stem)
            assert copy.page.evaluate("() => jupyterapp.shell.currentWidget.context.path") == f"{stem}-branch-1/{stem}.ipynb"
            write(os.path.join(notebooks, f"{stem}-plain.ipynb"), name, kernel="heard")
            elsewhere(open_(f"{stem}-plain.ipynb"))
            write(os.path.join(notebooks, f"{stem}-taxi.ipynb"), name, cells=SCENE)
            with open(os.path.join(notebooks, "trips.csv"), "w") as f:
                f.write("km,price\n" + "".join(f"{i % 7},{3 + 2 * (i % 7)}\n" for i in range(400 + ord(name[0]))))
            taxi = open_(f"{stem}-taxi.ipynb")
            file = os.path.join(notebooks, f"{stem}-taxi.ipynb")
            scene(taxi, lambda what: taxi.page.screenshot(path=os.path.join(shots, f"{stem}-{what}.png")), file)
            deleted(taxi, file)
            if name == "JupyterLab":
                nb = taxi
                copy_of(taxi, opened, f"{stem}-taxi")
            print(name, "ok", flush=True)


if __name__ == "__main__":
    main()
