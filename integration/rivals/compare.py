"""Compares what saving and loading a notebook's state costs with Kedge, dill, cloudpickle, joblib, pickle and Kishu.

usage: compare.py KEDGE EXAMPLES DOCS

All run in ipykernel under one Python, the one that runs this, driven by jupyter_client, in turn, in as many rounds as
fit in KEDGE_RIVALS_SECONDS (420), at least one. KEDGE_RIVALS_SCALE sizes the states (by the machine's memory),
KEDGE_RIVALS_STATES and KEDGE_RIVALS_SYSTEMS name some of them; KEDGE_RIVALS_EXAMPLES=iris,taxi adds the notebook that
takes minutes for each system. Prints the table and writes DOCS/benchmarks.md and .svg.
"""

from __future__ import annotations

import datetime
import os
import queue
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import nbformat
import report
from jupyter_client.manager import KernelManager
from states import State, states

TIMEOUT = 120
SYSTEMS = ("kedge", "pickle", "cloudpickle", "dill", "joblib", "kishu")
BESIDE = str(Path(__file__).parent)


class Kernel:
    """A kernel in a folder of its own."""

    def __init__(self, folder: Path, kernelspec: str, env: dict[str, str]) -> None:
        self.km = KernelManager(kernel_name=kernelspec, connection_file=str(folder / f"kernel-{uuid.uuid4()}.json"))
        full = {**os.environ, "JPY_SESSION_NAME": str(folder / "nb.ipynb"), "PYTHONPATH": BESIDE, **env}
        self.km.start_kernel(cwd=str(folder), env=full, stderr=subprocess.DEVNULL)
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.wait_for_ready(timeout=TIMEOUT)

    def send(self, code: str, cell: str = "", tags: list[str] | None = None) -> str:
        """Ask for a cell of the notebook, or for code that is none."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        metadata = {"tags": [f"step:{cell}"] if tags is None else tags, "cellId": cell, "trusted": True} if cell else {}
        message = self.kc.session.msg("execute_request", content, metadata=metadata)
        self.kc.shell_channel.send(message)
        return message["header"]["msg_id"]

    def answer(self, request: str, fails: bool = False) -> tuple[list[datetime.datetime], dict[str, Any]]:
        """When it displayed something, by the kernel's clock, and its reply."""
        shown = []
        while True:
            message = self.next_message()
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "error" and not fails:
                raise RuntimeError(message["content"]["ename"] + ": " + message["content"]["evalue"])
            if message["msg_type"] == "display_data":
                shown.append(message["header"]["date"])
            if message["content"].get("execution_state") == "idle":
                break
        while True:
            reply = self.kc.get_shell_msg(timeout=TIMEOUT)
            if reply["parent_header"].get("msg_id") == request:
                return shown, reply

    def next_message(self) -> dict[str, Any]:
        """The next on iopub; an error if the kernel has ended or is silent for very long."""
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            try:
                return self.kc.get_iopub_msg(timeout=5)
            except queue.Empty:
                if not self.km.is_alive():
                    raise RuntimeError("the kernel has died") from None
        raise RuntimeError(f"no message for {TIMEOUT} s")

    def run(self, code: str, cell: str = "", fails: bool = False) -> dict[str, Any]:
        """Ask, wait, and give the reply."""
        return self.answer(self.send(code, cell), fails)[1]

    def close(self) -> None:
        self.kc.stop_channels()
        self.km.shutdown_kernel(now=not self.km.kernel_name.startswith("kedge"))


class System:
    """A way to keep the state of a notebook; this one keeps nothing."""

    kernelspec = "python3"

    def __init__(self, name: str, root: Path, cells: dict[str, str]) -> None:
        self.name, self.folder = name, Path(tempfile.mkdtemp(prefix=name + "-", dir=root))
        self.env: dict[str, str] = {}
        self.cells = cells
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s, id=i, metadata={"tags": [f"step:{i}"]}) for i, s in cells.items()])
        nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nb, self.folder / "nb.ipynb")

    def start(self) -> Kernel:
        return Kernel(self.folder, self.kernelspec, self.env)

    def prepare(self, kernel: Kernel) -> None:
        """What the user does once, in a fresh kernel, before anything."""

    def save(self, cell: str, names: tuple[str, ...]) -> str | None:
        """Code that saves, where the user has to."""
        return None

    def wait(self, cell: str) -> float | None:
        """Wait until the state after a cell is durable; the time, if that is not when the next cell starts."""
        return None

    def size(self) -> int:
        """Bytes on the disk."""
        return 0

    def load(self, kernel: Kernel) -> None:
        """Bring back what the cell build left, in a fresh kernel that has imported what it needs."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class File(System):
    """A file for each state, by a library."""

    def prepare(self, kernel: Kernel) -> None:
        kernel.run("import saving")

    def save(self, cell: str, names: tuple[str, ...]) -> str:
        return f"saving.save({self.name!r}, globals(), {names or '[n for n in list(globals()) if saving_of(n)]'!s}, {str(self.folder / (cell + '.saved'))!r})"

    def size(self) -> int:
        return sum(used(p) for p in self.folder.glob("*.saved"))

    def load(self, kernel: Kernel) -> None:
        kernel.run(f"saving.load({self.name!r}, globals(), {str(self.folder / 'build.saved')!r})")


class Kishu(System):
    """Saves by itself after each cell. Its test mode: no front end is asked to save the notebook, which would take 0.2 s."""

    def __init__(self, name: str, root: Path, cells: dict[str, str]) -> None:
        super().__init__(name, root, cells)
        self.env = {"ENV_KISHU_TEST_MODE": "1", "KISHU_PATH_ROOT": str(self.folder), "HOME": str(self.folder)}

    def prepare(self, kernel: Kernel) -> None:
        kernel.run(f"from kishu import init_kishu\ninit_kishu({str(self.folder / 'nb.ipynb')!r})", fails=True)  # its hook does, in this cell

    def size(self) -> int:
        return sum(used(p) for p in self.folder.glob("*.kishudb*"))

    def load(self, kernel: Kernel) -> None:
        with sqlite3.connect(self.folder / "nb.kishudb") as db:
            (commit,) = db.execute("SELECT commit_id FROM commit_entry WHERE commit_id LIKE '1:%:2'").fetchone()  # of the second cell, build
        kernel.run(f"_kishu.checkout({commit!r}, skip_notebook=True)")


class Kedge(System):
    """Saves by itself beside the cells that follow, and restores a cell when it is asked for again."""

    kernelspec = "kedge-python3"

    def __init__(self, name: str, root: Path, cells: dict[str, str]) -> None:
        super().__init__(name, root, cells)
        self.home = self.folder / "home"
        self.env = {"KEDGE_HOME": str(self.home)}
        self.build = cells.get("build", "")

    def committed(self, cell: str) -> bool:
        try:
            with sqlite3.connect(f"file:{self.home}/catalog.db?mode=ro", uri=True, timeout=30) as db:
                return db.execute("SELECT 1 FROM snapshot WHERE step = ?", (cell,)).fetchone() is not None
        except sqlite3.OperationalError:
            return False  # there is no store yet

    def wait(self, cell: str) -> float | None:
        until = time.monotonic() + TIMEOUT
        while not self.committed(cell):
            if time.monotonic() > until:
                return None
            time.sleep(0.002)
        return time.time()

    def size(self) -> int:
        with sqlite3.connect(self.home / "catalog.db", timeout=30) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # else the log hides what it is reused for
        return sum(used(p) for p in [*self.home.glob("segments/*.seg"), *self.home.glob("catalog.db*")])

    def load(self, kernel: Kernel) -> None:
        mark = kernel.run(self.build, "build")["metadata"].get("kedge", {})
        if mark.get("status") != "restored":
            raise RuntimeError(f"it was not restored: {mark}")


def used(path: Path) -> int:
    """Bytes that a file takes on the disk."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def system(name: str, root: Path, cells: dict[str, str]) -> System:
    return {"plain": System, "kishu": Kishu, "kedge": Kedge}.get(name, File)(name, root, cells)


def measure(name: str, state: State, root: Path) -> dict[str, float]:
    """One round of one system on one state: seconds and bytes."""
    shown = "\ndisplay('end')"
    cells = {"imports": (state.imports or "import math") + "\nfrom IPython.display import display", "build": state.build + shown}
    for kind in ("read", "change", "back"):
        cells["after" + kind[0]] = f"display('{kind}')"
        cells[kind] = getattr(state, kind) + shown
    cells["last"] = "display('last')"
    follow = {"build": "afterr", "read": "afterc", "change": "afterb", "back": "last"}
    s = system(name, root, cells)
    out: dict[str, float] = {}
    try:
        kernel = s.start()
        try:
            s.prepare(kernel)
            kernel.run(cells["imports"], "imports")
            before = 0
            for kind, after in follow.items():
                requests = [kernel.send(cells[kind], kind)]
                if (code := s.save(kind, state.names)):
                    requests.append(kernel.send(code))
                requests.append(kernel.send(cells[after], after))
                durable: list[float | None] = []
                waiting = threading.Thread(target=lambda k=kind, d=durable: d.append(s.wait(k)), daemon=True)
                waiting.start()
                times = [kernel.answer(r)[0] for r in requests]
                waiting.join()
                ended, started = times[0][-1], times[-1][0]
                out[kind + " foreground"] = (started - ended).total_seconds()
                out[kind + " all"] = durable[0] - ended.timestamp() if durable[0] else (started - ended).total_seconds()
                if name != "plain":
                    s.wait(after)
                    now = s.size()
                    out[kind + " bytes"], before = now - before, now
        finally:
            kernel.close()
        if name == "plain":
            return out
        kernel = s.start()
        try:
            s.prepare(kernel)
            kernel.run(cells["imports"], "imports")
            begin = time.perf_counter()
            s.load(kernel)
            kernel.run(state.use)
            out["load"] = time.perf_counter() - begin
        finally:
            kernel.close()
    finally:
        s.close()
    return out


def example(name: str, path: Path, root: Path) -> dict[str, float]:
    """A notebook whose state is saved after each cell: seconds in all, bytes, and the load of what its last cell left."""
    nb = nbformat.read(path, as_version=4)
    cells = {c.id: c.source for c in nb.cells if c.cell_type == "code" and "skip" not in c.metadata.get("tags", [])}
    s = system(name, root, {})
    shutil.copytree(path.parent, s.folder, dirs_exist_ok=True)
    shutil.copy(path, s.folder / "nb.ipynb")
    tags = {c.id: c.metadata.get("tags", []) for c in nb.cells}
    out: dict[str, float] = {}
    try:
        kernel = s.start()
        try:
            s.prepare(kernel)
            kernel.run("import saving\nsaving_of = saving.of(globals())") if isinstance(s, File) else None
            begin = time.perf_counter()
            for cell, source in cells.items():
                kernel.answer(kernel.send(source, cell, tags[cell]))
                if isinstance(s, File):
                    kernel.run(s.save(cell, ()))
            out["run"] = time.perf_counter() - begin
        finally:
            kernel.close()
        out["bytes"] = s.size() if name != "plain" else 0
    finally:
        s.close()
    return out


def kedge_run(kedge: str, path: Path, root: Path) -> dict[str, float]:
    """`kedge run`, the first time and again."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=root))
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    out = {}
    for turn in ("cold", "warm"):
        begin = time.perf_counter()
        subprocess.run([kedge, "run", str(folder / path.name), "-o", str(folder / "out.ipynb"), "--python", sys.executable], check=True, cwd=folder,
                       env={**os.environ, "KEDGE_HOME": str(folder / "home")}, capture_output=True)
        out[turn] = time.perf_counter() - begin
    shutil.rmtree(folder)
    return out


def memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def main() -> None:
    kedge, examples, docs = sys.argv[1:4]
    scale = float(os.environ.get("KEDGE_RIVALS_SCALE") or min(2, memory() / (48 << 30)))
    seconds = float(os.environ.get("KEDGE_RIVALS_SECONDS") or 420)
    chosen = [s for s in states(scale) if not (only := os.environ.get("KEDGE_RIVALS_STATES")) or s.name in only.split(",")]
    systems = (os.environ.get("KEDGE_RIVALS_SYSTEMS") or ",".join(SYSTEMS)).split(",")
    root = Path(tempfile.mkdtemp(prefix="kedge-rivals-"))
    load_before = os.getloadavg()
    figures: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    failures: dict[tuple[str, str], str] = {}

    def note(key: tuple[str, str], take: Any, *args: Any) -> None:
        try:
            for what, value in take(*args).items():
                figures[key][what].append(value)
        except Exception as err:
            failures[key] = f"{type(err).__name__}: {str(err).strip().splitlines()[-1][:200] if str(err).strip() else ''}"
        print(f"{key[0]:10} {key[1]:12} {time.monotonic() - began:5.0f} s  {failures.get(key, '')}", file=sys.stderr, flush=True)

    try:
        subprocess.run([kedge, "install", "--prefix", str(root), "--python", sys.executable], check=True, capture_output=True)
        os.environ.update(JUPYTER_PATH=str(root / "share" / "jupyter"), IPYTHONDIR=str(root / "ipython"), PYTHONHASHSEED="0")
        began = time.monotonic()
        rounds = 0
        while rounds == 0 or (time.monotonic() - began) * (rounds + 1) / rounds < seconds:
            for state in chosen:
                for name in ("plain", *systems):
                    if rounds == 0 or (state.name, name) not in failures:
                        note((state.name, name), measure, name, state, root)
            for path in sorted(Path(examples).glob("*.ipynb")) if not only else []:
                if path.stem not in (os.environ.get("KEDGE_RIVALS_EXAMPLES") or "iris").split(","):
                    continue
                for name in ("plain", *systems):
                    if rounds == 0 or (path.stem, name) not in failures:
                        note((path.stem, name), example, name, path, root)
                note((path.stem, "kedge run"), kedge_run, kedge, path, root)
            rounds += 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    medians = {key: {what: statistics.median(v) for what, v in row.items()} for key, row in figures.items()}
    versions = {n: report.version(n) for n in ("cloudpickle", "dill", "joblib", "kishu", "ipykernel", "numpy", "pandas")}
    report.write(Path(docs), chosen, systems, medians, failures, versions, scale=scale, rounds=rounds, load=(load_before, os.getloadavg()), memory=memory())


if __name__ == "__main__":
    main()
