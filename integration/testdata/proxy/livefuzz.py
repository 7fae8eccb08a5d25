"""Random cells in random order in a kernel behind Kedge and in a plain one: nobody can tell the two apart.

usage: livefuzz.py KERNEL PLAIN SEED ACTIONS. Plays notebooks' lives, and prints the actions of one up to a difference; at the end how many cells were
restored, and why others ran. Exits with 1 if anything differed.
"""
import collections
import os
import random
import re
import shutil
import sys
import time

from live import Desk, interrupt, normal, reply

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
PROBE = """{n: repr(v) for n, v in sorted(globals().items()) if n in set('xyzpqswabfgh')}, len(In), sorted(Out), [n for n in 'xy' if n in globals() and 'w' in globals() and globals()[n] is w], open('f').read() if __import__('os').path.exists('f') else None"""
LIFE = 60  # actions
MOST = 10  # lives that differ, before it ends


class Life:
    """One notebook in one folder, through several starts of its kernel."""

    def __init__(self, kedge, plain, dice):
        self.random = dice
        pick = FIRST + [dice.choice(SOURCES) for _ in range(9)]
        self.code = dice.random() < 0.3  # the front end is VS Code
        env = {"JPY_SESSION_NAME": "", "VSCODE_PID": "1"} if self.code else {}
        self.desk = Desk([(f"c{i}", [f"step:s{i}"], code) for i, code in enumerate(pick)], kedge, plain, **env)
        for folder in self.desk.folders:
            with open(os.path.join(folder, "helper.py"), "w") as f:
                f.write(HELPER)
        self.log, self.next, self.played = [], 0, 0
        self.whys = collections.Counter()
        self.begin()

    def begin(self):
        """What a front end asks for when the kernel has started."""
        if self.code:
            early = self.random.choice(["import json as _VSCODE_json\ndel _VSCODE_json", "x = [5]", ""])
            for k in (self.desk.kedge, self.desk.plain):
                if early:
                    k.answer(k.send(early, {}, silent=True, store_history=False))
                k.answer(k.send(f'import os\n__vsc_ipynb_file__ = r"{k.notebook}"', {}, silent=True, store_history=False))

    def metadata(self, kernel, cell):
        if self.code and cell in self.desk.cells:
            return {"cellId": f"vscode-notebook-cell:{kernel.notebook}#W{cell}sZmlsZQ%3D%3D", "tags": self.desk.cells[cell][1]}
        return self.desk.metadata(cell)

    def run(self, *requests, **content):
        """Ask both for cells, or for code that is none, all at once, and compare what comes."""
        self.log.append((requests, content))
        content = {"stop_on_error": False, **content}
        asked = [[k.send(code, self.metadata(k, cell), **content) for cell, code in requests] for k in (self.desk.kedge, self.desk.plain)]
        for (_, code), ours, theirs in zip(requests, *asked, strict=True):
            got, expected = self.desk.kedge.answer(ours), self.desk.plain.answer(theirs)
            mark = got[1]["metadata"].get("kedge")
            if mark:
                self.whys[mark["status"], re.sub(r"\b(c\d+|[a-z]|__?|Out|In)\b", "N", mark["why"])] += 1
                self.log.append((mark["status"], mark["why"]))
            self.desk.same(code, got, expected)

    def interrupted(self):
        """A cell that runs until it is interrupted."""
        self.log.append(("interrupt",))
        cell = self.random.choice(list(self.desk.cells))
        code = "x = [1, 1]\nprint('go', flush=True)\nwhile True: pass"
        self.desk.cells[cell] = (cell, [f"step:s{cell[1:]}"], code)
        got = []
        for k in (self.desk.kedge, self.desk.plain):
            seen, r = interrupt(k, code, self.metadata(k, cell), stop_on_error=False)
            got.append(([(m["msg_type"], m["content"]) for m in seen if m["msg_type"] != "status"], r))
        a, b = [[normal(seen), reply(r)] for seen, r in got]
        assert a == b, f"{code}\nkedge {a}\nplain {b}"
        self.desk.cells[cell] = (cell, [f"step:s{cell[1:]}"], "x = [1, 1]")
        self.desk.calm()

    def act(self):
        self.played += 1
        cells = list(self.desk.cells)
        source = lambda cell: (cell, self.desk.cells[cell][2])  # noqa: E731
        dice = self.random.random()
        if dice < 0.35:  # down the notebook
            self.run(source(cells[self.next % len(cells)]))
            self.next += 1
        elif dice < 0.50:  # Run All, or a part
            first = self.random.randrange(len(cells))
            count = self.random.randrange(2, 6)
            stop = not self.code and self.random.random() < 0.5
            wait = [("", "import time\ntime.sleep(0.2)")] * stop  # a kernel aborts what has reached it by the time of an error
            self.run(*wait, *[source(c) for c in cells[first:first + count]], stop_on_error=stop)
            self.next = first + count
            if stop:
                self.desk.calm()
        elif dice < 0.68:
            self.next = self.random.randrange(len(cells))
            self.run(source(cells[self.next]))
        elif dice < 0.80:
            cell = self.random.choice(cells)
            self.desk.cells[cell] = (cell, [f"step:s{cell[1:]}"], self.random.choice(SOURCES))
            self.run(source(cell))
        elif dice < 0.86:
            self.run(("", self.random.choice(SOURCES)), store_history=self.random.random() < 0.5)
        elif dice < 0.88:
            self.run(source(self.random.choice(cells)), silent=True, store_history=False)
        elif dice < 0.93:
            self.run(("", PROBE), store_history=False)
        elif dice < 0.94:
            self.interrupted()
        else:
            self.restart()

    def restart(self):
        self.run(("", PROBE), store_history=False)
        self.log.append(("restart",))
        self.desk.restart()
        for folder in self.desk.folders:
            path = os.path.join(folder, "f")
            if os.path.exists(path):
                os.remove(path)
        self.next = 0
        self.begin()

    def end(self):
        self.desk.close()
        shutil.rmtree(os.path.dirname(self.desk.folders[0]), ignore_errors=True)


def main(kedge, plain, seed, actions):
    begin, done, differ, whys, number = time.time(), 0, 0, collections.Counter(), 0
    while done < int(actions) and differ < MOST:
        life = Life(kedge, plain, random.Random(f"{seed}.{number}"))
        try:
            while life.played < min(LIFE, int(actions) - done):
                life.act()
            life.run(("", PROBE), store_history=False)
        except Exception as e:  # a client that waits in vain, too
            differ += 1
            print(f"life {number}, action {life.played}:", *life.log, f"{type(e).__name__}: {e}", "", sep="\n", flush=True)
        done, number = done + life.played, number + 1
        whys += life.whys
        life.end()
    restored = sum(n for (status, _), n in whys.items() if status == "restored")
    print(f"seed {seed}: {done} actions in {number} lives, {differ} mismatches; {restored} of {whys.total()} cells restored; {(time.time() - begin) / done:.2f} s an action")
    print(*whys.most_common(12), sep="\n")
    sys.exit(differ > 0)


main(*sys.argv[1:])
