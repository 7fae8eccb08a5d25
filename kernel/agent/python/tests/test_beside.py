"""Captures by a copy of the process, which goes on beside the next cell."""
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
