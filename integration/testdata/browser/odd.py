"""What may come in a person's way: cycles, a notebook that is new, renamed, open twice, or very large.

usage: odd.py FOLDER. The folder is made, and holds the notebooks and Jupyter's settings.
"""
import itertools
import os
import sys
import time

from extension import CELLS, Lab, write
from front import browser, served

TAGGED = [(i, [f"step:{step}"], s) for (i, _, s), step in zip(CELLS, ["load", "clean", "total"], strict=True)]


def told(nb):
    """What a command says that cannot do its work; it is closed."""
    text = nb.page.inner_text(".jp-Dialog-content")
    nb.page.keyboard.press("Escape")
    nb.ended()
    return text


def cycle(open_, folder):
    """Of steps that depend on each other the first is named, in the status bar and at its cell; the cells run as ever."""
    write(os.path.join(folder, "cycle.ipynb"), "cycle", cells=[("a", ["step:a", "prev:b"], "x = 1"), ("b", ["step:b", "prev:a"], "y = 2")])
    nb = open_("cycle.ipynb")
    nb.until("none", "none")
    nb.page.wait_for_function("() => document.querySelector('.kedge-Status').textContent.includes('Kedge: ')")
    said = nb.page.inner_text(".kedge-Status")
    assert "no step of that name comes before" in said, said
    nb.start("kedge:rerun-from-changed")
    assert said.removeprefix("Kedge: ") in told(nb)
    assert any(said.removeprefix("Kedge: ") in (nb.why(i) or "") for i in (0, 1)), (said, nb.why(0), nb.why(1))
    assert [m[1] for m in nb.run_all()] == [None, None], "the cells run as ever"
    nb.page.close()


def new(open_, folder):
    """A notebook that was never saved since it was made: its cells stand as the page has them, and going back saves it."""
    write(os.path.join(folder, "seed.ipynb"), "seed")
    nb = open_("seed.ipynb")
    nb.until("none", "none", "none")  # the page is complete: it does not take the focus again
    nb.page.evaluate("() => { void jupyterapp.commands.execute('notebook:create-new', {kernelName: 'python3'}) }")
    nb.page.wait_for_function("() => jupyterapp.shell.currentWidget?.context?.path.startsWith('Untitled')")
    nb.idle()
    path = os.path.join(folder, nb.page.evaluate("() => jupyterapp.shell.currentWidget.context.path"))
    nb.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.setSource('fresh = 1 + 1\\nprint(fresh)')")
    nb.until("none")
    nb.start("kedge:rerun-from-changed")
    asked = [nb.accept(), nb.accept()]
    assert "no steps yet" in asked[0] and "1 cell will run" in asked[1], asked
    nb.ended()
    nb.until("fresh")
    with open(path) as f:
        assert "fresh = 1 + 1" in f.read(), path
    nb.page.close()


def renamed(open_, folder):
    """While it is open: the badges stay, going back says what to do, and after a restart all is as before."""
    write(os.path.join(folder, "before.ipynb"), "renamed", cells=TAGGED)
    nb = open_("before.ipynb")
    assert [m[1] for m in nb.run_all()] == ["ran"] * 3
    nb.until("fresh", "fresh", "fresh")
    nb.page.evaluate("() => jupyterapp.shell.currentWidget.context.rename('after.ipynb')")
    assert os.path.exists(os.path.join(folder, "after.ipynb")) and not os.path.exists(os.path.join(folder, "before.ipynb"))
    nb.until("fresh", "fresh", "fresh")
    nb.start("kedge:rerun-from-changed")
    nb.accept()
    assert "renamed or moved" in told(nb)
    nb.restart()
    nb.until("fresh", "fresh", "fresh")
    nb.do("kedge:rerun-from-changed")
    nb.until("restored", "restored", "restored")
    nb.page.close()


def twice(open_, folder):
    """In two tabs: both say the same of what is saved, each of its own edits; one that goes by what the file lacks is told."""
    write(os.path.join(folder, "twice.ipynb"), "twice", cells=TAGGED)
    one, two = open_("twice.ipynb"), open_("twice.ipynb")
    one.run_all()
    two.until("fresh", "fresh", "fresh")
    two.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.find(w => w.model.id === 'c').model.sharedModel.setSource('total = 0')")
    two.until("fresh", "fresh", "stale")
    one.until("fresh", "fresh", "fresh")
    one.do("kedge:rerun-from-changed")
    one.until("restored", "restored", "restored")
    two.until("restored", "restored", "stale")
    one.page.close()
    two.page.close()


def large(open_, folder):
    """A thousand cells, of which the page draws some; and 50 MB of output, which going back lays where it was."""
    big = ("big", ["step:big"], "from IPython.display import display\ndisplay({'text/plain': 'much', 'application/x-none': 'x' * 50_000_000}, raw=True)")
    write(os.path.join(folder, "large.ipynb"), "large", cells=[big] + [(f"c{i}", [f"step:s{i}"], f"v{i} = {i}") for i in range(1000)])
    nb = open_("large.ipynb")
    nb.page.wait_for_function("() => document.querySelector('.jp-CodeCell')?.dataset.kedgeState === 'stale'")
    nb.select(0)
    nb.command("notebook:run-cell")
    nb.page.wait_for_function("() => document.querySelector('.jp-CodeCell').dataset.kedgeState === 'fresh'")
    began = time.monotonic()
    nb.select(1000)
    nb.page.evaluate("() => { void jupyterapp.shell.currentWidget.content.scrollToItem(1000) }")
    nb.page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets.find(w => w.model.id === 'c999').node.querySelector('.kedge-Badge') !== null")
    print(f"the last of 1001 cells has its badge {time.monotonic() - began:.1f} s after it is scrolled to", flush=True)
    nb.page.evaluate("() => { jupyterapp.shell.currentWidget.model.cells.get(0).outputs.clear() }")
    nb.select(0)
    nb.do("kedge:restore-here")
    nb.page.wait_for_function("() => document.querySelector('.jp-CodeCell').dataset.kedgeState === 'restored'")
    size = nb.page.evaluate("() => jupyterapp.shell.currentWidget.model.cells.get(0).outputs.get(0).toJSON().data['application/x-none'].length")
    assert size == 50_000_000, size
    nb.page.close()


def main():
    folder = sys.argv[1]
    notebooks = os.path.join(folder, "notebooks")
    os.makedirs(notebooks)
    with served(notebooks, folder) as address, browser(viewport={"width": 1180, "height": 900}) as page:
        names = itertools.count()  # of workspaces: else a page opens what the one before it had open
        for test in (cycle, new, renamed, twice, large):
            test(lambda file: Lab(page(), f"{address}/lab/workspaces/w{next(names)}/tree/{file}?token=t"), notebooks)
            print(test.__name__, "ok", flush=True)


if __name__ == "__main__":
    main()
