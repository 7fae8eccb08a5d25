"""Captures by a copy of the process, which goes on beside the next cell."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def test_copies_hang_in_no_library(tmp_path):
    """KEDGE_FORKS of them, beside OpenMP in three libraries, threads that want the lock, and an event loop."""
    for library in ("IPython", "xgboost", "lightgbm", "sklearn"):
        pytest.importorskip(library)
    forks = os.environ.get("KEDGE_FORKS", "50")
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, str(HERE / "forks_process.py"), str(tmp_path), forks], env=env,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "no children"


def lend(folder, setup, cell, then="pass"):
    """What a capture of a cell holds after the next one has run: see lending_process.py."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, str(HERE / "lending_process.py"), str(folder), setup, cell, then], env=env,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


SETUP = """
import numpy as np, ctypes
class Plain: pass
class Writes:
    def __getstate__(self):
        if 'a' in globals(): a[:] = -1
        return {}
class Raises:
    def __getstate__(self):
        a[:] = -1
        raise ValueError
class Dies:
    def __getstate__(self): ctypes.string_at(0)
"""


def test_what_is_lent_is_as_it_was(tmp_path):
    """Also if it is read-only, a part of a larger array, or a frame."""
    pytest.importorskip("IPython")
    pytest.importorskip("numpy")
    cell = """
a = np.full(1 << 20, 7.0)
b = np.full(1 << 20, 8.0); b.flags.writeable = False
c = np.full(1 << 21, 9.0)[5:-5]
d = np.full(1000, 6.0)
e = np.full(3000, 5.0)
"""
    found = lend(tmp_path, SETUP, cell, "a[:] = 0; c[:] = 0; d[:] = 0; e[:] = 0; del b")
    assert found == {"a": [True, 7, 7], "b": [True, 8, 8], "c": [True, 9, 9], "e": [False, 5, 5]}


@pytest.mark.parametrize("other", ["Writes", "Raises"])
def test_code_of_the_program_may_write_to_what_is_lent(tmp_path, other):
    """While a later group is saved: what was lent is saved anew, before that."""
    pytest.importorskip("IPython")
    pytest.importorskip("numpy")
    found = lend(tmp_path, SETUP, f"a = np.full(1 << 20, 7.0)\nz = {other}()")
    assert found["a"] == [False, 7, 7]


def test_a_fork_dies_that_lends(tmp_path):
    """Another one saves what it had lent."""
    pytest.importorskip("IPython")
    pytest.importorskip("numpy")
    found = lend(tmp_path, SETUP, "a = np.full(1 << 20, 7.0)\nb = np.full(1 << 20, 8.0)\nz = Dies()")
    assert found == {"a": [False, 7, 7], "b": [False, 8, 8], "z": "Dies: the process that pickled it died"}
