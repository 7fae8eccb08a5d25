"""Compare `kedge run` with a straight run of the same notebook.

A case is a dict: ``cells`` (sources, each one a step ``s0``, ``s1``, …), optional ``files`` (path → text), ``env`` and
``change``. A change may set ``edit`` ([index, source] pairs), ``insert`` ([index, source]), ``delete`` (index),
``move`` ([from, to]), ``files`` (path → text, None deletes) and ``env``. Without a change the last cell gets one more
statement, so that it really runs on what was restored.
"""
from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEDGE = os.environ.get("KEDGE_TEST_BINARY", str(ROOT / "bin" / "kedge"))
PYTHON = os.environ.get("KEDGE_TEST_PYTHON", str(ROOT / ".venv" / "bin" / "python"))


def document(cells: list[tuple[str, str]]) -> str:
    """The notebook of (cell id, source) pairs, every cell a step of its own."""
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"cell_type": "code", "id": cid, "source": src, "outputs": [], "execution_count": None,
         "metadata": {"tags": ["step:" + cid] + (["raises-exception"] if "#raises" in src else [])}}
        for cid, src in cells]})


def lay(folder: Path, files: dict[str, str | None]) -> None:
    """Write files into folder; None deletes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def run(folder: Path, home: Path, env: dict[str, str], *args: str) -> dict[str, Any]:
    """One `kedge run` of nb.ipynb in folder: its report, what it put out and the folder's files."""
    proc = subprocess.run([KEDGE, "run", "nb.ipynb", "-o", "out.ipynb", "--json", "--python", PYTHON, *args],
                          cwd=folder, capture_output=True, text=True, timeout=120,
                          env={**os.environ, **env, "KEDGE_HOME": str(home)})
    try:
        report = json.loads(proc.stdout)
    except json.JSONDecodeError:
        return {"code": proc.returncode, "stderr": proc.stderr + proc.stdout, "outputs": None, "files": None,
                "ran": None, "report": {}}
    nb = json.loads((folder / "out.ipynb").read_text())
    outputs = [(c["execution_count"], [shown(o) for o in c["outputs"]]) for c in nb["cells"]
               if c["cell_type"] == "code"]
    return {"code": proc.returncode, "stderr": proc.stderr, "outputs": outputs, "files": tree(folder),
            "ran": [c["ID"] if "ID" in c else c["id"] for c in report["cells"]
                    if c.get("status", c.get("Status")) == "ran"], "report": report}


def shown(output: dict[str, Any]) -> Any:
    """What a reader sees of an output."""
    if output["output_type"] == "error":
        return ["error", output["ename"], output["evalue"]]
    return {k: v for k, v in output.items() if k != "metadata"}


def tree(folder: Path) -> dict[str, Any]:
    """path → mode and content of everything in folder but notebooks and caches."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.endswith(".ipynb") or "__pycache__" in name:
            continue
        if path.is_symlink():
            found[name] = ["link", os.readlink(path)]
        elif path.is_dir():
            found[name] = ["dir", oct(path.stat().st_mode)]
        else:
            found[name] = [oct(path.stat().st_mode), path.read_bytes().decode("latin-1")[:2000]]
    return found


def differences(got: dict[str, Any], want: dict[str, Any]) -> list[str]:
    """Lines that say in what two runs differ; empty if in nothing."""
    lines = []
    if got["code"] != want["code"]:
        lines.append(f"exit status {got['code']}, straight {want['code']}; {got['stderr'][-300:]}")
    for what in ("outputs", "files"):
        if got[what] != want[what]:
            a = json.dumps(want[what], indent=1).splitlines()
            b = json.dumps(got[what], indent=1).splitlines()
            lines += [f"{what} (- straight, + kedge):"] + [
                d for d in difflib.unified_diff(a, b, lineterm="", n=0) if not d.startswith(("---", "+++", "@@"))][:14]
    return lines


def changed(case: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The cells before and after the change of case."""
    before = [(f"s{i}", src) for i, src in enumerate(case["cells"])]
    after = list(before)
    change = case.get("change")
    if change is None:
        after[-1] = (after[-1][0], after[-1][1] + "\n_again = 1")
        return before, after
    for i, src in change.get("edit", []):
        after[i] = (after[i][0], src)
    if "insert" in change:
        after.insert(change["insert"][0], ("new", change["insert"][1]))
    if "delete" in change:
        del after[change["delete"]]
    if "move" in change:
        after.insert(change["move"][1], after.pop(change["move"][0]))
    return before, after


def check(case: dict[str, Any]) -> dict[str, Any]:
    """Run case cold, change it, run it again and straight: what differs, which cells ran."""
    before, after = changed(case)
    change = case.get("change") or {}
    with tempfile.TemporaryDirectory(prefix="oracle-") as tmp:
        base = Path(tmp)
        folder, copy = base / "a" / "lab", base / "b" / "lab"
        env = {"ORACLE": "1", **case.get("env", {})}
        for f in (folder, copy):
            f.mkdir(parents=True)
            lay(f, case.get("files", {}))
        (folder / "nb.ipynb").write_text(document(before))
        cold = run(folder, base / "home", env)
        env = {**env, **change.get("env", {})}
        for f in (folder, copy):
            lay(f, change.get("files", {}))
            (f / "nb.ipynb").write_text(document(after))
        if "rename" in change:
            folder = folder.rename(folder.with_name(change["rename"]))
        warm = run(folder, base / "home", env)
        shutil.copytree(copy, base / "c" / "lab")
        straight = run(base / "c" / "lab", base / "home2", env, "--no-cache")
        return {"differences": differences(warm, straight), "ran": warm["ran"], "cold": cold, "warm": warm,
                "straight": straight}
