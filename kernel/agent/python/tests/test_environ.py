"""Which variables count as read, and that a failed look-up shows nothing of ours. In a process of its own."""
import json
import pathlib
import subprocess
import sys

import pytest

AGENT = str(pathlib.Path(__file__).parents[1])
PROGRAM = """
import json, os, sys, traceback
def fails(code):
    try:
        exec(code)
    except Exception:
        _, error, frames = sys.exc_info()
        return repr(error), [(f.filename, f.lineno, f.name) for f in traceback.extract_tb(frames)[2:]]
errors = ["os.environ['NO']", "os.environ[3]", "os.environb['NO']", "del os.environ['NO']", "os.environ.pop('NO')",
          "os.getenv(3)", "os.environ['A'] = 3"]
before = [fails(e) for e in errors]
sys.path.insert(0, sys.argv[1])
from kedge_agent import environ
environ.install(); environ.install()
after = [fails(e) for e in errors]
environ.read.clear()
exec(sys.argv[2])
print(json.dumps([before, after, sorted(environ.read)]))
"""
READS = [("os.environ['PATH']", ["PATH"]), ("os.environ.get('NO')", ["NO"]), ("'NO' in os.environ", ["NO"]),
         ("os.getenv('NO')", ["NO"]), ("os.environb.get(b'NO')", ["NO"]), ("os.environ.setdefault('NO', 'x')", ["NO"]),
         ("os.environ['NO'] = 'x'", []), ("os.environ['A'] = 'x'; del os.environ['A']", []),
         ("os.putenv('A', 'x')", []), ("len(os.environ)", ["*"]), ("list(os.environ)", ["*"]),
         ("dict(os.environ)", ["*"]), ("os.environ.copy()", ["*"]), ("repr(os.environ)", ["*"]),
         ("os.environ | {}", ["*"]), ("list(os.environ.items())[:1]", ["*", "PATH"]), ("{**os.environb}", ["*"])]


@pytest.mark.parametrize("code,names", READS)
def test_what_counts_as_read(code, names):
    out = subprocess.run([sys.executable, "-c", PROGRAM, AGENT, code], check=True, capture_output=True, text=True,
                         env={"PATH": "/usr/bin"})
    before, after, read = json.loads(out.stdout)
    assert after == before
    assert (set(names) <= set(read)) if names[:1] == ["*"] else read == names
