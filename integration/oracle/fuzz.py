"""Random notebooks and actions, each compared with a straight run: ``fuzz.py [--seed N] [--actions N]``.

Deterministic by seed. Prints the seed, actions, hit rate and mismatches; a mismatch is shrunk to a minimal notebook.
"""
from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

from oracle import differences, document, lay, run

HEAD = "import random\nimport numpy as np\nimport pandas as pd\na, b, c, d = 1, 2, [1], {'k': [0]}\nrandom.seed(3); np.random.seed(4)\n" \
       "rng = np.random.default_rng(5)\nv = np.arange(6); df = pd.DataFrame({'x': range(6)})\ndef f(t=1): return a + t\nclass K:\n    n = 0\no = K()"
FRAGMENTS = [
    "a = {n}", "a += {n}", "b = a * {n}", "c.append({n})", "c = c + [{n}]", "d['k'].append(a)", "d['c'] = c", "e = c",
    "print(a, b)", "print(c, d, d.get('c') is c)", "print(f({n}))", "def f(t=1): return b + t + {n}", "o.n += {n}", "K.n = {n}",
    "print(o.n, type(o) is K)", "print(random.random())", "random.seed({n})", "print(np.random.rand())", "print(rng.integers(99))",
    "v[{n} % 6] = a", "w = v[1:4]", "print(v)", "print(v.sum(), 'w' in globals())", "df['y'] = a", "df = df[df.x != {n}]",
    "print(df.query('x > @a'))", "print(df.describe())", "open('log', 'a').write('{n}')", "open('o{n}', 'w').write(str(a))",
    "import os\nprint(sorted(x for x in os.listdir('.') if x.startswith('o') and 'ipynb' not in x))",
    "import os\nprint(open('log').read() if os.path.exists('log') else '-')", "print(open('in.txt').read())",
    "a = int(open('in.txt').read())", "import os\nos.environ['Q'] = '{n}'", "import os\nprint(os.environ.get('Q'))",
    "s = {{'x{n}', 'y', str(a)}}\nprint(list(s))", "{n} + a", "try:\n    del e\nexcept NameError: print('no e')",
    "try:\n    print(e)\nexcept NameError: print('no e')", "g = [f]", "try:\n    print(g[0](2))\nexcept NameError: print('no g')",
    "pd.set_option('display.precision', {n} % 5)", "print(pd.DataFrame({{'q': [1 / 3]}}))", "import helper\nprint(helper.k)",
]
Cell = tuple[str, str]


class Notebook:
    """A notebook and its folder's input files under random actions."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.made = 0
        self.files = {"in.txt": "3", "helper.py": "k = 1\n"}
        self.cells: list[Cell] = [("head", HEAD)] + [self.cell() for _ in range(self.dice.randint(10, 14))]
        self.past = [list(self.cells)]

    def source(self) -> str:
        return self.dice.choice(FRAGMENTS).format(n=self.dice.randint(1, 9))

    def cell(self) -> Cell:
        self.made += 1
        return f"c{self.made}", self.source()

    def act(self) -> str:
        """Change something; returns what."""
        dice, n = self.dice, len(self.cells)
        i = dice.randrange(1, n)
        what = dice.choice(["edit", "edit", "revert", "delete", "insert", "move", "repeat", "data", "helper"])
        if what == "edit":
            self.cells[i] = (self.cells[i][0], self.source())
        elif what == "revert":
            self.cells = list(dice.choice(self.past))
        elif what == "delete" and n > 4:
            del self.cells[i]
        elif what == "insert":
            self.cells.insert(i, self.cell())
        elif what == "move":
            self.cells.insert(dice.randrange(1, n), self.cells.pop(i))
        elif what == "data":
            self.files["in.txt"] = str(dice.randint(1, 9))
        elif what == "helper":
            self.files["helper.py"] = f"k = {dice.randint(1, 9)}\n"
        self.past.append(list(self.cells))
        return what


def straight(cells: list[Cell], files: dict[str, str], base: Path) -> dict:
    """The reference: a fresh folder and home."""
    with tempfile.TemporaryDirectory(dir=base) as tmp:
        folder = Path(tmp) / "lab"
        lay(folder, files)
        (folder / "nb.ipynb").write_text(document(cells))
        return run(folder, Path(tmp) / "home", {}, "--no-cache")


def fails(history: list[tuple[list[Cell], dict[str, str]]]) -> list[str]:
    """The differences after the last of history, replayed with a fresh store."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp) / "lab"
        for cells, files in history:
            lay(folder, files)
            (folder / "nb.ipynb").write_text(document(cells))
            got = run(folder, Path(tmp) / "home", {})
        return visible(got, straight(*history[-1], Path(tmp)))


def visible(got: dict, want: dict) -> list[str]:
    """Differences but for leftovers: files that only the folder with a past has."""
    if got["files"] is not None and want["files"] is not None:
        got = {**got, "files": {k: v for k, v in got["files"].items() if k in want["files"]}}
    return differences(got, want)


def shrink(history: list[tuple[list[Cell], dict[str, str]]], tries: int) -> list[tuple[list[Cell], dict[str, str]]]:
    """A shorter history that still fails: fewer runs, then fewer cells in all of them."""
    for start in (history[-2:], history[-3:]):
        tries -= 1
        if len(start) < len(history) and fails(start):
            history = start
            break
    for cid in [c for c, _ in history[-1][0] if c != "head"]:
        if tries <= 0:
            break
        tries -= 1
        smaller = [([c for c in cells if c[0] != cid], files) for cells, files in history]
        if fails(smaller):
            history = smaller
    return history


def main() -> None:
    """Run the seed's actions."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--actions", type=int, default=20)
    args.add_argument("--tries", type=int, default=30, help="runs spent on shrinking one mismatch")
    opt = args.parse_args()
    nb = Notebook(opt.seed)
    hits = cells = wrong = 0
    with tempfile.TemporaryDirectory() as tmp:
        folder, home = Path(tmp) / "lab", Path(tmp) / "home"
        history = []
        for n in range(opt.actions):
            what = nb.act() if n else "cold"
            history.append((list(nb.cells), dict(nb.files)))
            lay(folder, nb.files)
            (folder / "nb.ipynb").write_text(document(nb.cells))
            got = run(folder, home, {})
            lines = visible(got, straight(nb.cells, nb.files, Path(tmp)))
            if n and got["ran"] is not None:
                cells += len(nb.cells)
                hits += sum(c["status"] == "restored" for c in got["report"]["cells"])
            if lines:
                wrong += 1
                print(f"seed {opt.seed} action {n} ({what}):", *lines, sep="\n  ", flush=True)
                for i, (sources, files) in enumerate(shrink(history, opt.tries)):
                    print(f"  run {i}: {json.dumps(sources)} files {json.dumps(files)}", flush=True)
                break
    print(f"seed {opt.seed}: {n + 1} actions, {hits}/{cells} restored, {wrong} mismatches")


if __name__ == "__main__":
    main()
