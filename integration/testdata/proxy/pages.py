"""What a page that has the notebook open is told over its comm, and what it can ask for.

Each function is one test; run as: pages.py NAME KERNEL PLAIN.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

from live import TIMEOUT, Kernel, write

CELLS = [("a", ["step:load"], "import time\nx = [1]\ntime.sleep(.3)\nx"),
         ("b", ["step:clean", "prev:load"], "y = [v + 1 for v in x]\nopen('y.txt', 'w').write(str(y))\nprint(y)"),
         ("c", ["step:train"], "z = sum(y)\nprint(z)"),
         ("d", ["step:other"], "print('other')")]


class Page:
    """A comm to Kedge, as the extension opens one."""

    def __init__(self, kernel, comm="page", **hello):
        self.kernel, self.comm, self.seq = kernel, comm, 0
        self.send("comm_open", {"type": "hello", "protocol": 1, "oldest": 1, "version": "test", **hello}, target_name="kedge")

    def send(self, kind, data, **content):
        msg = self.kernel.kc.session.msg(kind, {"comm_id": self.comm, "data": data, **content})
        self.kernel.kc.shell_channel.send(msg)

    def say(self, **data):
        self.send("comm_msg", data)

    def next(self, kind, **want):
        """The next message of a type with these values."""
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            m = self.kernel.kc.get_iopub_msg(timeout=TIMEOUT)
            data = m["content"].get("data", {})
            if m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self.comm and data["type"] == kind \
                    and all(data.get(k) == v for k, v in want.items()):
                return data
        raise AssertionError((kind, want))

    def cells(self, cells, order=None, **more):
        self.seq += 1
        self.say(type="cells", seq=self.seq, order=order or [c[0] for c in cells],
                 cells=[{"id": i, "source": s, "tags": t} for i, t, s in cells], **more)
        return self.next("states", seq=self.seq)

    def until(self, **states):
        """What is told once the cells stand like this."""
        while True:
            s = self.next("states")
            if all(c["state"] == states[c["id"]] for c in s["cells"] if c["id"] in states):
                return s


def stand(told):
    return {c["id"]: c["state"] for c in told["cells"]}


def why(told):
    return {c["id"]: c["reason"] for c in told["cells"]}


def start(kedge, cells, **env):
    folder = tempfile.mkdtemp(prefix="kedge-pages-")
    write(os.path.join(folder, "nb.ipynb"), cells)
    return Kernel(kedge, folder, **env)


def run(k, cells, *ids, **content):
    """Ask for cells; returns what the replies say became of them."""
    known = {c[0]: c for c in cells}
    sent = [k.send(known[i][2], {"tags": known[i][1], "cellId": i}, **content) for i in ids]
    return [k.answer(m)[1]["metadata"].get("kedge", {}).get("status") for m in sent]


def states(kedge, _):
    """From never run to fresh, stale by an edit that nobody has saved, and what depends on it; restored after a restart."""
    k = start(kedge, CELLS)
    p = Page(k)
    assert p.next("hello")["protocol"] == 1
    told = p.cells(CELLS)
    assert stand(told) == dict.fromkeys("abcd", "stale") and why(told)["a"] == "never run", told
    assert told["steps"] == ["load", "clean", "train", "other"] and told["first"] == "a" and told["totals"]["unknown"] == 4, told
    assert run(k, CELLS, *"abcd") == ["ran"] * 4
    told = p.until(**dict.fromkeys("abcd", "fresh"))
    assert told["first"] == "" and [(e["from"], e["to"], e["declared"], e["observed"]) for e in told["edges"]] == [
        ("load", "clean", True, ["x"]), ("clean", "train", False, ["y"])], told["edges"]
    edited = [CELLS[0], ("b", CELLS[1][1], "y = [v + 2 for v in x]\nprint(y)"), *CELLS[2:]]
    told = p.cells([edited[1]], order=[c[0] for c in CELLS])
    assert stand(told) == {"a": "fresh", "b": "stale", "c": "stale", "d": "fresh"}, told
    assert why(told)["b"] == "code edited" and "y may change" in why(told)["c"] and told["first"] == "b" and told["totals"]["runs"] == 2, told
    told = p.cells([CELLS[1]], order=[c[0] for c in CELLS])
    assert stand(told) == dict.fromkeys("abcd", "fresh"), told
    told = p.cells([("d", ["skip"], CELLS[3][2])], order=list("dabc"))
    assert stand(told)["d"] == "none" and why(told)["d"] == "skip", told
    p.cells(CELLS)
    k.restart()
    p = Page(k, "again")
    told = p.cells(CELLS)
    assert stand(told) == dict.fromkeys("abcd", "fresh"), told
    assert run(k, CELLS, *"ab") == ["restored"] * 2
    told = p.until(a="restored", b="restored", c="fresh")
    assert told["totals"]["restored"] == 2 and .25 < told["totals"]["saved_seconds"] < 2, told["totals"]
    k.close()


def busy(kedge, plain):
    """A page is told while a cell runs, which cell that is, and what cannot be kept."""
    cells = [("a", ["step:a"], "input('ask')\nx = 1"), ("b", ["step:b"], "y = x"), ("c", ["step:c"], "f = open('/dev/null')"),
             ("d", ["step:d", "cache:disabled"], "1")]
    k = start(kedge, cells)
    p = Page(k)
    told = p.cells(cells)
    assert stand(told)["d"] == "uncached" and why(told)["d"] == "cache:disabled", told
    sent = k.send(cells[0][2], {"tags": cells[0][1], "cellId": "a"}, allow_stdin=True)
    assert p.next("became")["state"] == "running"
    k.kc.get_stdin_msg(timeout=TIMEOUT)
    told = p.cells(cells)
    assert stand(told)["a"] == "running", told
    k.kc.input("42")
    while k.kc.get_shell_msg(timeout=TIMEOUT)["parent_header"]["msg_id"] != sent:
        pass
    assert run(k, cells, *"bcd") == ["ran"] * 3
    told = p.until(a="uncached", c="uncached", d="uncached")
    assert "input" in why(told)["a"] and "f cannot be captured" in why(told)["c"], told
    k.close()


def errands(kedge, _):
    """Back as far as nothing has changed, back to a cell after a restart, again, and a branch."""
    k = start(kedge, CELLS)
    p = Page(k)
    p.cells(CELLS)
    assert run(k, CELLS, *"abcd") == ["ran"] * 4
    p.until(**dict.fromkeys("abcd", "fresh"))
    edited = [CELLS[0], ("b", CELLS[1][1], "y = [v + 2 for v in x]\nopen('y.txt', 'w').write(str(y))"), *CELLS[2:]]
    write(k.notebook, edited)
    p.cells(edited)
    p.say(type="back", id=1, cell="")
    out = p.next("output", id=1)
    assert out["cell"] == "a" and out["count"] == 1 and out["outputs"][0]["data"]["text/plain"] == "[1]", out
    done = p.next("done", id=1)
    assert done["ok"] and done["restored"] == ["a"] and done["next"] == "b" and done["next_reason"] == "code edited", done
    assert run(k, edited, *"bcd") == ["ran", "ran", "restored"]
    p.until(a="restored", b="fresh", c="fresh", d="restored")
    p.say(type="again", id=2, cell="a")
    p.next("done", id=2, ok=True)
    assert run(k, edited, *"da") == ["ran", "ran"]  # d was asked for twice in a row
    k.restart()
    p = Page(k)
    p.cells(edited)
    p.say(type="back", id=3, cell="b")
    assert p.next("done", id=3, ok=True)["restored"] == ["a", "b"]
    seen, _ = k.answer(k.send("print(x, y, open('y.txt').read(), 'z' in globals())", {}))
    assert seen[-1][1]["text"] == "[1] [3] [3] False\n", seen
    p.say(type="back", id=4, cell="nowhere")
    assert "does not have this cell" in p.next("done", id=4, ok=False)["reason"]
    p.say(type="branch", id=5, cell="b")
    done = p.next("done", id=5)
    assert done["ok"] and done["folder"] == "nb-branch-1" and done["notebook"] == "nb.ipynb", done
    assert os.path.exists(os.path.join(k.folder, "nb-branch-1", "nb.ipynb"))
    p.say(type="log", id=6)
    log = p.next("done", id=6, ok=True)["log"]
    printed = json.loads(subprocess.check_output([os.environ["KEDGE_TEST_BINARY"], "log", "--json", k.notebook]))
    assert log == printed and len(log) >= 8, (log, printed)
    p.say(type="show", id=7, snapshot=log[0]["snapshot"])
    shown = p.next("done", id=7, ok=True)["show"]
    assert shown["changed"] == {"variables": ["y"], "deleted": [], "files": ["y.txt"]}, shown["changed"]
    shown = shown["variables"]
    assert [(v["name"], v.get("preview")) for v in shown] == [("time", None), ("x", {"text": "[1]"}), ("y", {"text": "[3]"})], shown
    totals = p.cells(edited)["totals"]
    assert [totals[k] for k in ("logical_bytes", "unique_bytes")] == [sum(e[k] for e in log) for k in ("logical_bytes", "unique_bytes")], (totals, log)
    p.say(type="show", id=8, snapshot="0" * 64)
    assert p.next("done", id=8, ok=False)["reason"]
    first = [e for e in log if e["cell"] == "b"][-1]  # as b was before the edit
    p.say(type="copy", id=10, snapshot=first["snapshot"])
    done = p.next("done", id=10)
    assert done["ok"] and done["folder"] == "nb-copy-1" and done["notebook"] == "nb.ipynb", done
    copy = os.path.join(k.folder, "nb-copy-1")
    with open(os.path.join(copy, "y.txt")) as f, open(os.path.join(copy, "nb.ipynb")) as g:
        assert f.read() == "[2]" and "".join(json.load(g)["cells"][1]["source"]) == CELLS[1][2]
    p.say(type="copy", id=11, snapshot="0" * 64)
    assert p.next("done", id=11, ok=False)["reason"] and not os.path.exists(os.path.join(k.folder, "nb-copy-2"))
    for n, e in enumerate(e for e in log if e["cell"] == "d"):  # all of one cell: it runs again
        p.say(type="delete", id=100 + n, snapshot=e["snapshot"])
        p.next("done", id=100 + n, ok=True)
    p.until(a="restored", b="restored", d="stale")
    p.say(type="log", id=12)
    assert p.next("done", id=12, ok=True)["log"] == [e for e in log if e["cell"] != "d"]
    p.say(type="delete", id=13, snapshot=log[0]["snapshot"][:-1] + "x")
    assert p.next("done", id=13, ok=False)["reason"]
    other = Page(k, "other")  # a second tab, with code that is not saved
    other.cells([("a", CELLS[0][1], "x = [2]"), *edited[1:]])
    other.say(type="back", id=1, cell="")
    assert "not what the page shows" in other.next("done", id=1, ok=False, unsaved=True)["reason"]
    os.rename(k.notebook, k.notebook + ".moved")
    p.say(type="back", id=9, cell="")
    assert "renamed or moved" in p.next("done", id=9, ok=False)["reason"]
    assert stand(p.cells(edited))["c"] == "fresh"
    k.close()


def versions(kedge, _):
    """A page that is older or newer than we are is told so, and nothing else; no steps, a bad tag, and kedge.auto."""
    plain = [(i, [], s) for i, _, s in CELLS]
    k = start(kedge, plain)
    assert "older" in Page(k, "old", protocol=0).next("hello")["refused"]
    assert "newer" in Page(k, "new", protocol=9, oldest=9).next("hello")["refused"]
    assert Page(k, "both", protocol=9, oldest=1).next("hello")["refused"] == ""
    p = Page(k)
    told = p.cells(plain)
    assert told["plain"] and stand(told) == dict.fromkeys("abcd", "none"), told
    told = p.cells(plain, auto=True)
    assert not told["plain"] and told["steps"] == list("abcd") and set(stand(told).values()) == {"stale"}, told
    told = p.cells([("a", ["step:a b"], "1"), *plain[1:]])
    assert told["at"] == "a" and "must not" in told["problem"] and set(stand(told).values()) == {"none"}, told
    told = p.cells([("a", ["step:a", "prev:b"], "1"), ("b", ["step:b", "prev:a"], "2"), *plain[2:]])
    assert told["problem"], told
    p.say(type="cells", seq="x", order={"a": 1})
    p.say(**{"type": "nonsense"})
    told = p.cells(CELLS)
    assert told["problem"] == "" and stand(told)["a"] == "stale", told
    k.close()


def untouched(kedge, plain):
    """Of a notebook without steps the kernel hears what a plain one hears, whatever a page asks."""
    cells = [(i, [], s) for i, _, s in CELLS]
    k = start(kedge, cells)
    p = Page(k)
    p.cells(cells)
    p.say(type="look")
    run(k, cells, "a")
    seen, r = k.answer(k.send("import sys; print(sorted(m for m in sys.modules if 'kedge' in m), get_ipython().kernel.comm_manager.comms if hasattr(get_ipython().kernel, 'comm_manager') else {})", {}))
    assert "{}" in seen[-1][1]["text"] and "kedge" not in r["metadata"], seen
    assert not os.path.exists(os.path.join(os.environ["KEDGE_HOME"], "VERSION")), os.listdir(os.environ["KEDGE_HOME"])
    k.close()


def large(kedge, _):
    """What a cell shows comes back whole, however much it is; and a thousand cells."""
    cells = [("a", ["step:a"], "print('x' * 50_000_000)")] + [(f"c{i}", [f"step:s{i}"], f"v{i} = {i}") for i in range(1000)]
    k = start(kedge, cells)
    p = Page(k)
    assert len(p.cells(cells)["cells"]) == 1001
    assert run(k, cells, "a") == ["ran"]
    p.until(a="fresh")
    p.say(type="back", id=1, cell="a")
    assert len(p.next("output", id=1)["outputs"][0]["text"]) == 50_000_001
    p.next("done", id=1, ok=True)
    k.close()


def quick(kedge, _):
    """200 cells: from what is typed to the states."""
    n = 200
    cells = [("c0", ["step:s0"], "v0 = 0")] + [(f"c{i}", [f"step:s{i}"], f"v{i} = v{i - 1} + 1") for i in range(1, n)]
    k = start(kedge, cells)
    p = Page(k)
    p.cells(cells)
    run(k, cells, *[c[0] for c in cells])
    p.until(**{c[0]: "fresh" for c in cells})
    took = []
    for i in range(20):
        began = time.monotonic()
        told = p.cells([("c100", ["step:s100"], f"v100 = v99 + {i + 2}")], order=[c[0] for c in cells])
        took.append(time.monotonic() - began)
        assert told["totals"]["runs"] == 100, told["totals"]
    print(json.dumps([round(t * 1000) for t in took]))
    k.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("ok")
