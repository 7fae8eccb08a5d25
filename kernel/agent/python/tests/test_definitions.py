"""Which modules only define things."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import definitions  # noqa: E402

ONLY = ['"""Words."""\nimport os\nfrom a import b', "X = 1\nY: int = 2\n(A, *B), C = [1, 2], f()\nX += 1",
        "class C(Base):\n    x = 1\n    def f(self): g()", "@g\ndef f(): os.chdir('/')", "async def f(): pass",
        "if TYPE_CHECKING:\n    import a\nelse:\n    a = None", "try:\n    import a\nexcept ImportError:\n    a = None",
        ""]
MORE = ["f()", "os.x = 1", "X[0] = 1", "a, b.c = 1, 2", "del X", "for i in range(3): pass", "with f(): pass",
        "class C:\n    f()", "if x:\n    f()", "try:\n    import a\nexcept ImportError:\n    f()", "raise X",
        "x.y += 1",
        "while f(): pass", "not python", "assert f()", "x.y: int = 1", "[*a.b] = 1, 2"]


@pytest.mark.parametrize("source,expected", [(s, True) for s in ONLY] + [(s, False) for s in MORE])
def test_only_definitions(tmp_path, source, expected):
    (tmp_path / "m.py").write_text(source)
    assert definitions.only(str(tmp_path / "m.py")) is expected


def test_what_cannot_be_read_may_do_anything(tmp_path):
    assert not definitions.only(str(tmp_path / "missing.py")) and not definitions.only(None)
    (tmp_path / "m.py").write_bytes(b"# coding: nothing\nx = 1\n")
    assert not definitions.only(str(tmp_path / "m.py"))
