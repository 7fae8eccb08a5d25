"""Random cells in random order in a kernel behind Kedge and in a plain one: nobody can tell the two apart.

usage: livefuzz.py KERNEL PLAIN SEED ACTIONS. Prints the actions up to the first difference; else how many cells were restored.
"""
import collections
import os
import random
import re
import sys

from live import Desk

SOURCES = [
    "x = [1]", "x = [1, 2]", "x.append(3)", "y = x", "y = {'k': x}", "y = list(x)", "x = sorted(x, reverse=True)", "del x", "x", "print(x, y)", "x is y",
    "z = 5", "z += 1", "del z", "z", "def f(a): return a + z", "f(2)", "f.note = x", "f.note", "class P: pass\np = P()\np.v = x", "p.v.append(9)\np.v",
    "print(p.v is x, type(p) is P)", "h = lambda: x", "h()", "_", "Out", "In[-2:]", "_i", "print(len(Out))", "[x]", "x[:]", "1/0", "x.append(4)\n1/0",
    "import random\nrandom.seed(2)", "random.seed(3)", "print(random.random())", "import numpy as np\nnp.random.seed(2)", "a = np.arange(6).reshape(2, 3)", "a[0] = 7\na", "b = a[1]", "b += 1\nprint(a)",
    "np.random.seed(1)", "np.random.rand()", "open('f', 'w').write(str(x));", "print(open('f').read())", "import os\nprint(os.path.exists('f'))", "os.remove('f')",
    "g = (i for i in range(99))", "print(next(g))", "s = {'a', 'b', 'c', 'd'}", "print(list(s))", "globals()['w'] = x", "w", "exec('q = z')", "q", "%who_ls",
    "import decimal\ndecimal.getcontext().prec = 5", "import decimal\ndecimal.Decimal(1) / 3", "print('x' in globals(), 'z' in dir())", "x, y = y, x", "import helper",
    "helper.add(x)", "print(helper.total)", "import helper\nprint(helper.total())", "d = display('shown', display_id=True)", "d.update('again')", "print(sum(x)); x[0] = 8",
    "try:\n    print(z)\nexcept NameError:\n    z = 1", "from copy import copy\ny = copy(x)", "y = x\ny += [5]", "import os\nos.environ['K'] = '1'", "import os\nprint(os.environ.get('K'))",
]
FIRST = ["x = [1]", "z = 5\ny = 0", "class P: pass\np = P()\np.v = x", "def f(a): return a + z", "import random\nimport os\nimport numpy as np\nrandom.seed(1)\nnp.random.seed(1)\na = np.zeros((2, 3))\nb = a[1]"]
HELPER = "calls = []\n\n\ndef add(v):\n    calls.append(len(v))\n\n\ndef total():\n    return sum(calls)\n"
PROBE = "{n: repr(v) for n, v in sorted(globals().items()) if n in set('xyzpqswabfgh')}, len(In), sorted(Out), [n for n in 'xy' if n in globals() and 'w' in globals() and globals()[n] is w]"


class Fuzz:
    def __init__(self, kedge, plain, seed):
        self.random = random.Random(seed)
        pick = FIRST + [self.random.choice(SOURCES) for _ in range(9)]
        self.desk = Desk([(f"c{i}", [f"step:s{i}"], code) for i, code in enumerate(pick)], kedge, plain)
        for folder in self.desk.folders:
            with open(os.path.join(folder, "helper.py"), "w") as f:
                f.write(HELPER)
        self.log, self.next = [], 0
        self.whys = collections.Counter()

    def run(self, cell, code, **content):
        self.log.append((cell, code, content))
        metadata = self.desk.metadata(cell)
        got, expected = [k.answer(k.send(code, metadata, stop_on_error=False, **content)) for k in (self.desk.kedge, self.desk.plain)]
        mark = got[1]["metadata"].get("kedge")
        if mark:
            self.whys[mark["status"], re.sub(r"\b(c\d+|[a-z]|__?|Out|In)\b", "N", mark["why"])] += 1
            self.log[-1] += (mark["status"], mark["why"])
        self.desk.same(code, got, expected)

    def act(self):
        cells = list(self.desk.cells)
        dice = self.random.random()
        if dice < 0.55:  # down the notebook
            cell = cells[self.next % len(cells)]
            self.next += 1
            self.run(cell, self.desk.cells[cell][2])
        elif dice < 0.75:
            self.next = self.random.randrange(len(cells))
            self.run(cells[self.next], self.desk.cells[cells[self.next]][2])
        elif dice < 0.85:
            cell, code = self.random.choice(cells), self.random.choice(SOURCES)
            self.desk.cells[cell] = (cell, [f"step:s{cell[1:]}"], code)
            self.run(cell, code)
        elif dice < 0.91:
            self.run("", self.random.choice(SOURCES), store_history=self.random.random() < 0.5)
        elif dice < 0.94:
            self.run("", PROBE, store_history=False)
        else:
            self.restart()

    def restart(self):
        self.run("", PROBE, store_history=False)
        self.log.append(("restart",))
        self.desk.restart()
        for folder in self.desk.folders:
            path = os.path.join(folder, "f")
            if os.path.exists(path):
                os.remove(path)
        self.next = 0


def main(kedge, plain, seed, actions):
    fuzz = Fuzz(kedge, plain, int(seed))
    try:
        for _ in range(int(actions)):
            fuzz.act()
        fuzz.run("", PROBE, store_history=False)
    except AssertionError:
        print(*fuzz.log, sep="\n")
        raise
    fuzz.desk.close()
    print(*fuzz.whys.most_common(), sep="\n")


main(*sys.argv[1:])
