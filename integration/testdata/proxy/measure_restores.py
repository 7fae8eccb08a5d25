"""How long a live kernel takes to have large values back: the answer to a cell that is restored.

usage: measure_restores.py KERNEL PLAIN [ROUNDS]. Prints one line per value: the least and the median, beside a small one.
"""
import os
import statistics
import sys
import time

from live import Desk

SIZES = [int(n) for n in os.environ.get("KEDGE_BENCH_MIB", "64,512,2048").split(",")]
VALUES = {"a small value": "x = [1]", **{f"an array of {n} MiB": f"x = np.arange({n} << 17, dtype='f8')" for n in SIZES},
          "a frame of 512 MiB": "n = 1 << 24; x = pd.DataFrame({'a': np.arange(n), 'b': np.arange(n) * .5, 'c': np.arange(n) % 7, 'd': np.ones(n)})"}
CELLS = [("a", ["step:start"], "import numpy as np, pandas as pd"),
         *((f"v{i}", [f"step:v{i}"], code) for i, code in enumerate(VALUES.values()))]


def main():
    kedge, plain = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    d = Desk(CELLS, kedge, plain)

    def run(cell, status):
        begin = time.perf_counter()
        _, reply = d.kedge.answer(d.kedge.send(d.cells[cell][2], d.metadata(cell)))
        took = (time.perf_counter() - begin) * 1e3
        assert reply["metadata"]["kedge"]["status"] == status, (cell, reply)
        return took

    for cell in d.cells:
        run(cell, "ran")
    took = {f"v{i}": [] for i in range(len(VALUES))}
    for _ in range(rounds):
        for cell in took:
            took[cell].append(run(cell, "restored"))
    d.close()
    base = took["v0"]
    for name, cell in zip(VALUES, took, strict=True):
        print(f"{name:22s} ms, least {min(took[cell]):8.1f} (+{min(took[cell]) - min(base):.1f}), median {statistics.median(took[cell]):8.1f}")


if __name__ == "__main__":
    main()
