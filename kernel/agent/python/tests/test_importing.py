"""Modules whose import changes the filters of warnings are known by name."""
import importlib.machinery
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import importing  # noqa: E402


def test_only_the_modules_that_change_filters_themselves_are_noted(tmp_path, monkeypatch):
    (tmp_path / "kedge_pk").mkdir()
    texts = {"__init__": "", "outer": "from . import inner\nx = 1",
             "inner": "import warnings\nwarnings.filterwarnings('ignore', 'kedge')",
             "late": "from . import outer\nimport warnings\nwarnings.filterwarnings('error', 'late')"}
    for name, text in texts.items():
        (tmp_path / "kedge_pk" / f"{name}.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "exec_module",
                        importlib.machinery.SourceFileLoader.exec_module)
    monkeypatch.setattr(importing, "filtering", set())
    importing.watch(lambda module: None)
    with warnings.catch_warnings():
        importlib.import_module("kedge_pk.late")
    for name in [n for n in sys.modules if n.startswith("kedge_pk")]:
        del sys.modules[name]
    assert importing.filtering == {"kedge_pk.inner", "kedge_pk.late"}


def test_an_import_goes_on_where_looking_at_it_fails(tmp_path, monkeypatch):
    (tmp_path / "kedge_odd.py").write_text("x = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "exec_module",
                        importlib.machinery.SourceFileLoader.exec_module)
    looked = []

    def look():
        looked.append(1)
        raise AttributeError("another version")

    importing.watch(lambda module: None, {"kedge_odd": look})
    assert importlib.import_module("kedge_odd").x == 3
    del sys.modules["kedge_odd"]
    assert looked
