"""The table and the plot of compare.py."""

from __future__ import annotations

import datetime
import math
import os
import platform
import sys
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

COLUMNS = (
    ("save, next cell", "build foreground", "seconds"), ("save, all", "build all", "seconds"), ("disk", "build bytes", "bytes"),
    ("read-only cell", "read foreground", "seconds"), ("its bytes", "read bytes", "bytes"),
    ("one change, next cell", "change foreground", "seconds"), ("its bytes", "change bytes", "bytes"), ("going back, bytes", "back bytes", "bytes"),
    ("load to usable", "load", "seconds"),
)
COLOURS = {"kedge": "#0b6e4f", "pickle": "#8d99ae", "cloudpickle": "#4f6d9a", "dill": "#c08552", "joblib": "#9a6fb0", "kishu": "#c8553d"}
ABOUT = """Each system keeps the state of a notebook in an ipykernel that jupyter_client drives; all have the same Python, machine and
disk, and take turns. Figures are medians.

- **next cell**: from the last statement of a cell to the first of the next, which waits already, less the same in a kernel
  without anything: what the user feels. pickle, cloudpickle, dill and joblib save in a cell of their own between the two.
- **save, all**: until everything is on the disk (fsync; Kishu's and Kedge's own way of committing).
- **disk**, **bytes**: blocks that were added. dill, pickle, cloudpickle and joblib keep a file for each state: a history, as Kedge and
  Kishu keep one. *read-only cell*: one that looks at the state. *one change*: of one element, in place (of *mixed*: a new column).
  *going back*: the cell after that sets the old value again.
- **load to usable**: in a fresh kernel that has imported what the state needs, until a cell has used it. For Kedge this is the
  cell that made the state, asked for again.

Settings: pickle and cloudpickle with protocol 5; dill by `dump_module`; joblib without compression, loaded with
`mmap_mode="c"`; Kishu as installed by `init_kishu`, in its test mode (else it asks a front end that is not there to save the
notebook, which takes 0.2 s a cell), and with a connection file named kernel-*.json; Kedge as installed by `kedge install`, each cell a step.
A dash: it failed, or does not apply; what failed is below the table.
"""


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def seconds(value: float) -> str:
    """Milliseconds below ten seconds."""
    if value >= 10:
        return f"{value:.1f} s"
    return f"{value * 1e3:.0f} ms" if abs(value) >= 0.01 else f"{value * 1e3:.1f} ms"


def size(value: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Markdown that is also a table in a terminal."""
    wide = [max(len(r[i]) for r in [list(head), *rows]) for i in range(len(head))]

    def line(cells: Any) -> str:
        return "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, wide, strict=True))) + " |"

    return "\n".join([line(head), "| " + " | ".join("-" * (w - (i > 0)) + (":" if i else "") for i, w in enumerate(wide)) + " |", *map(line, rows)])


def less_plain(medians: dict[Any, Any], state: str, system: str, what: str) -> float | None:
    value = medians.get((state, system), {}).get(what)
    plain = medians.get((state, "plain"), {}).get(what)
    if value is not None and what.endswith("foreground") and plain is not None:
        return value - plain
    return value


def row(medians: dict[Any, Any], state: str, system: str) -> list[str]:
    cells = [system]
    for _, what, kind in COLUMNS:
        value = less_plain(medians, state, system, what)
        cells.append("–" if value is None else seconds(value) if kind == "seconds" else size(value))
    return cells


def machine(memory: int) -> str:
    model = platform.processor() or platform.machine()
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            model = text.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def busy(load: tuple[Any, Any]) -> str:
    before, after = (x[0] for x in load)
    if max(before, after) < 0.5 * (os.cpu_count() or 1) and before < 0.3:
        return f"The machine did nothing else (load before: {before:.1f})."
    return (f"**The machine was not quiet**: its load was {before:.1f} before and {after:.1f} at the end, on {os.cpu_count()} cores. "
            "Times say what is larger, not by how much; bytes hold.")


def write(docs: Path, chosen: list[Any], systems: list[str], medians: dict[Any, Any], failures: dict[Any, str], versions: dict[str, str], *,
          scale: float, rounds: int, load: tuple[Any, Any], memory: int) -> None:
    """Print the tables, and write them with the plot."""
    text = ["# Benchmarks", "", "Written by `make bench-rivals`.", "",
            f"{datetime.date.today()}: {machine(memory)}; {', '.join(f'{n} {v}' for n, v in versions.items())}; {rounds} round{'s' * (rounds != 1)}, "
            f"states at scale {scale:g}.", "", busy(load), "", ABOUT, "![Pause, and bytes for one change, of each system](benchmarks.svg)", ""]
    for state in chosen:
        text += [f"## {state.name}", "", f"{state.shape}.", "", table(("", *(c[0] for c in COLUMNS)), [row(medians, state.name, s) for s in systems]), ""]
    if examples := sorted({key[0] for key in medians} & {"iris", "taxi"}):
        text += ["## The examples", "", "The notebook cell by cell, its state saved after each; and `kedge run`, the first time and again.", ""]
        rows = []
        for name in examples:
            plain = medians.get((name, "plain"), {}).get("run")
            for system in ("plain", *systems, "kedge run"):
                found = medians.get((name, system), {})
                took = found.get("run", found.get("cold"))
                rows.append([f"{name}, {system}", "–" if took is None else seconds(took), "–" if took is None or not plain else f"{took / plain:.2f}x",
                             "–" if "bytes" not in found else size(found["bytes"]), "–" if "warm" not in found else seconds(found["warm"])])
        text += [table(("", "all cells", "to plain", "disk", "again"), rows), ""]
    if failures:
        text += ["## What failed", "", *(f"- {state}, {system}: {why}" for (state, system), why in sorted(failures.items())), ""]
    body = "\n".join(text)
    print(body)
    (docs / "benchmarks.md").write_text(body)
    (docs / "benchmarks.svg").write_text(plot(chosen, systems, medians))


def plot(chosen: list[Any], systems: list[str], medians: dict[Any, Any]) -> str:
    """Bars on logarithmic axes: the pause after the cell that makes a state, and what one change writes."""
    panels = (("Later start of the next cell after a save, ms", "build foreground", 1e3, 0.1), ("Bytes written when one thing changed, KB", "change bytes", 1e-3, 1))
    wide, high, left, gap = 860, 230, 60, 70
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {2 * (high + gap) + 40}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for i, s in enumerate(systems):
        out.append(f'<rect x="{left + i * 125}" y="12" width="12" height="12" fill="{COLOURS.get(s, "#999")}"/>'
                   f'<text x="{left + 18 + i * 125}" y="22">{escape(s)}</text>')
    for p, (title, what, factor, least) in enumerate(panels):
        top = 60 + p * (high + gap)
        values = {(st.name, s): v * factor for st in chosen for s in systems if (v := less_plain(medians, st.name, s, what)) is not None}
        most = max([10 * least, *values.values()])
        decades = math.ceil(math.log10(most / least))
        out.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(title)}</text>')
        for d in range(decades + 1):
            y = top + high - high * d / decades
            out.append(f'<line x1="{left}" x2="{wide - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                       f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{least * 10**d:g}</text>')
        group = (wide - left - 10) / max(1, len(chosen))
        bar = group * 0.85 / max(1, len(systems))
        for g, state in enumerate(chosen):
            out.append(f'<text x="{left + group * (g + 0.45):.1f}" y="{top + high + 16}" text-anchor="middle">{escape(state.name)}</text>')
            for i, s in enumerate(systems):
                value = values.get((state.name, s))
                if value is None:
                    continue
                tall = max(1.0, high * math.log10(max(value, least) / least) / decades)
                out.append(f'<rect x="{left + group * g + bar * i:.1f}" y="{top + high - tall:.1f}" width="{bar - 1:.1f}" height="{tall:.1f}" '
                           f'fill="{COLOURS.get(s, "#999")}"><title>{escape(s)}, {escape(state.name)}: {value:.3g}</title></rect>')
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    sys.exit("compare.py calls this")
