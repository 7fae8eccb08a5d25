"""A tagged notebook in JupyterLab and in Notebook 7 with Kedge's kernel python3: run, restarted and run, edited and run.

usage: browser.py FOLDER. The folder is made, and holds the notebooks and Jupyter's settings.
"""
import sys

import nbformat
from front import Notebook, both

CELLS = [
    ("a", ["step:load"], "import time\nrows = ['{front}', time.time_ns()]\nrows"),
    ("b", ["step:model"], "fit = len(rows) + 1\nprint(time.time_ns())"),
    ("c", [], "from IPython.display import HTML\nprint('fit', fit, rows)\nHTML(f'<b>{fit}</b>')"),
    ("d", ["step:other"], "print(rows, time.time_ns())"),
    ("e", ["step:bar"], "import tqdm.auto as bars\nfor i in bars.tqdm(range(3), desc='{front}', bar_format='{desc} {n_fmt}{bar}'): pass"),
]
EVERY = [c[0] for c in CELLS]


def write(path, front):
    """Each front end has a notebook with values of its own: the same code would be restored from the other's."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s.replace("{front}", front), id=i, metadata={"tags": t} if t else {}) for i, t, s in CELLS])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


def expect(got, *want):
    assert got == list(zip(EVERY, want, strict=True)), f"{got}, want {want}"


def check(nb):
    expect(nb.run_all(), *["ran"] * 5)
    cold, bar = nb.cells(), nb.widget()
    assert [c[1] for c in cold] == [1, 2, 3, 4, 5] and all(c[2] for c in cold), cold
    assert bar.endswith("3"), bar
    nb.restart()
    expect(nb.run_all(), *["restored"] * 5)
    assert nb.cells() == cold, (cold, nb.cells())
    assert nb.widget() == bar
    nb.type(1, "fit = len(rows) + 2\nprint(time.time_ns())")
    expect(nb.run_all(), "restored", "ran", "ran", "restored", "restored")
    edited = nb.cells()
    assert [c[1] for c in edited] == [6, 7, 8, 9, 10], edited
    assert nb.widget() == bar
    assert edited[3][2] == cold[3][2] and edited[1][2] != cold[1][2]
    assert edited[2][2][0]["text"].startswith("fit 4 "), edited[2]


if __name__ == "__main__":
    for name, path, opened in both(sys.argv[1], Notebook):
        write(path, name)
        check(opened())
        print(name, "ok")
