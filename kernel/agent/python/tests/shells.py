"""Fresh IPython shells with the agent, as processes: quicker than kernels."""
import atexit
import functools
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import pytest

PROCESS = str(pathlib.Path(__file__).with_name("shell_process.py"))


@functools.cache
def parent():
    """The path of the socket of the process that the shells are forked from; it ends with the tests."""
    path = os.path.join(tempfile.mkdtemp(prefix="kedge-shells-"), "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        process = subprocess.Popen([sys.executable, PROCESS, str(listener.fileno())], pass_fds=[listener.fileno()],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"})
    atexit.register(process.kill)
    return path


class Shell:
    """One process, in a folder that others may share."""

    def __init__(self, folder, number):
        self.folder, self.number = folder, number
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(parent())
        self.stream = self.socket.makefile("r")
        self.socket.sendall(f"{folder}\n".encode())
        self.effects = []

    def ask(self, op, **content):
        """One message of PROTOCOL.md, without its kedge_."""
        self.socket.sendall(json.dumps({"op": op, **content}).encode() + b"\n")
        line = self.stream.readline()
        assert line, "the shell died"
        return json.loads(line)

    def run(self, code, look="None"):
        """The repr of look after code has run."""
        reply = self.ask("run", code=code, look=look)
        assert "error" not in reply, reply
        return reply["value"]

    def cell(self, code):
        """Run a cell between before and after; their replies."""
        before = self.ask("before", code=code)
        assert "error" not in before, before
        reply = self.ask("run", code=code)
        assert "error" not in reply, reply
        spool = pathlib.Path(self.folder) / f".kedge-spool-{self.number}-{len(self.effects)}"
        after = self.ask("after", spool=str(spool))
        assert "error" not in after, after
        self.effects.append((after, spool))
        return before, after

    def restore(self, other):
        """Lay what the cells of another shell left over this one."""
        for after, spool in other.effects:
            groups = [{"names": g["names"], "stream": {"ranges": [[str(spool), *g["stream"]]]},
                       "buffers": [{"ranges": [[str(spool), o, n]], "readonly": r} for o, n, r in g["buffers"]]}
                      for g in after["groups"]]
            reply = self.ask("apply", groups=groups, ambient=after["ambient"], modules=after["modules"],
                             delete=after["deleted"])
            assert "error" not in reply, reply

    def stop(self):
        """End the process."""
        self.stream.close()
        self.socket.close()


@pytest.fixture
def shell(tmp_path):
    """Makes shells that are stopped after the test; all in one folder."""
    made = []

    def make():
        made.append(Shell(tmp_path, len(made)))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def round_trip(make, cells, look):
    """Cells in one shell, their effects in a fresh one: both look the same, and unlike one where nothing ran.

    The bytes of the ambient state are the same in every process that did the same.
    """
    first, again, restored, fresh = make(), make(), make(), make()
    streams = {"random", "numpy.random", "torch.random"}  # entropy, unless seeded
    for code in cells:
        _, after = first.cell(code)
        assert after["uncaptured"] == [] and after["refused"] == [], after
        _, twin = again.cell(code)
        states = [[a for a in x["ambient"] if a["name"] not in streams] for x in (after, twin)]
        assert states[0] == states[1]
    restored.restore(first)
    seen, want = (one.ask("before", code="1")["ambient"] for one in (restored, first))
    assert all(seen[k] == want[k] for k in want if k not in streams), (seen, want)
    want = first.run("", look)
    assert restored.run("", look) == want, (restored.run("", look), want)
    fresh.cell(cells[0] if len(cells) > 1 else "0")
    assert fresh.run("", look) != want, "the look sees nothing"
    restored.restore(first)  # idempotent
    assert restored.run("", look) == want, (restored.run("", look), want)
    return first, restored
