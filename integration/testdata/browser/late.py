"""Steps that come late, in JupyterLab and in Notebook 7: cells run, then are tagged in the page, and count from then on.

usage: late.py FOLDER. The folder is made, and holds the notebooks and Jupyter's settings.
"""
import sys

import nbformat
from front import Notebook, both

CELLS = [
    ("load", "rows = ['{front}', 1, 2]"),
    ("seed", "import random\nrandom.seed('{front} 7')"),
    ("model", "import time\nfit = [len(rows), time.time_ns()]\nprint(fit)"),
    ("draw", "drawn = random.random()\nprint(drawn, fit, time.time_ns())"),
    ("show", "print(rows, fit, drawn)"),
]
PLACE = {name: place for place, (name, _) in enumerate(CELLS)}


def write(path, front):
    """Each front end has a notebook with values of its own: the same code would be restored from the other's."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s.replace("{front}", front), id=i) for i, s in CELLS])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


class Late(Notebook):
    def tag(self, name, tag):
        """Add a tag to a cell in the page's own list of tags."""
        self.page.evaluate("at => { jupyterapp.shell.currentWidget.content.activeCellIndex = at }", PLACE[name])
        adding = self.page.locator(".jp-CellTags-Add")
        if not adding.is_visible():
            self.show_tools()
        adding.click()
        self.page.keyboard.type(tag)
        self.page.keyboard.press("Enter")
        self.page.wait_for_function("""([at, tag]) =>
          (jupyterapp.shell.currentWidget.content.widgets[at].model.getMetadata('tags') ?? []).includes(tag)""", arg=[PLACE[name], tag])

    def show_tools(self):
        self.page.evaluate("""() => {
          const commands = jupyterapp.commands;
          return commands.hasCommand('property-inspector:show-panel') ? commands.execute('property-inspector:show-panel')
            : commands.execute('application:toggle-panel', {side: 'right', title: 'Show Notebook Tools', id: 'notebook-tools'});
        }""")
        closed = self.page.get_by_text("Common Tools", exact=True)
        closed.wait_for()
        if not self.page.locator(".jp-CellTags-Add").is_visible():
            closed.click()
        self.page.locator(".jp-CellTags-Add").wait_for()

    def expect(self, *want):
        """Run All; None is a cell of no step."""
        got = self.run_all()
        assert got == list(zip(PLACE, want, strict=True)), f"{got}, want {want}"

    def text(self, name):
        """What a cell has printed."""
        return "".join(o["text"] for o in self.cells()[PLACE[name]][2])


def check(nb):
    nb.expect(*[None] * 5)
    before = nb.text("model")
    nb.tag("model", "step:model")
    nb.tag("draw", "step:draw")
    late = [None, None]  # nobody has saved the file: of steps the kernel hears with the first cell that is tagged
    nb.expect(*late, "ran", "ran", "ran")  # what ran before they were steps is not on record
    first = [nb.text(name) for name in PLACE]
    assert first[PLACE["model"]] != before
    nb.expect("ran", "ran", "restored", "restored", "restored")  # the two on top are the step start
    nb.expect(*["restored"] * 5)
    assert [nb.text(name) for name in PLACE] == first
    seed = nb.cells()[PLACE["seed"]][0]
    nb.type(PLACE["seed"], seed.replace("7'", "8'"))
    nb.expect("restored", "ran", "restored", "ran", "ran")
    assert nb.text("model") == first[PLACE["model"]] and nb.text("draw").split()[0] != first[PLACE["draw"]].split()[0]
    nb.type(PLACE["seed"], seed)
    nb.expect(*["restored"] * 5)
    nb.restart()
    nb.expect(*late, "restored", "restored", "restored")
    assert [nb.text(name) for name in PLACE] == first
    nb.tag("load", "step:load")
    nb.expect(*["restored"] * 5)
    assert [nb.text(name) for name in PLACE] == first
    nb.type(PLACE["load"], nb.cells()[PLACE["load"]][0].replace("2", "3, 4"))
    nb.expect("ran", "restored", "ran", "ran", "ran")
    assert nb.text("model").startswith("[4, ")


if __name__ == "__main__":
    for name, path, opened in both(sys.argv[1], Late):
        write(path, name)
        check(opened())
        print(name, "ok")
