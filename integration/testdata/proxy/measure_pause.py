"""How long after it is sent the first line of a cell runs that comes right after one which left much, plain and proxied.

usage: measure_pause.py KERNEL PLAIN [ROUNDS]. Prints one line per figure.
"""
import statistics
import sys
import time

from live import Desk, printed

LEFT = {
    "64 MB of floats": "import numpy as np\nx = np.random.default_rng({n}).random(8_000_000)",
    "1 GB of floats": "import numpy as np\nx = np.random.default_rng({n}).random(125_000_000)",
    "200,000 objects": "x = [[i, {n}] for i in range(200_000)]",
    "a frame": "import numpy as np, pandas as pd\nx = pd.DataFrame(np.random.default_rng({n}).random((100_000, 10)))",
}
NEXT = "import time; print(time.time()); k = {n}"
CELLS = [("a", ["step:one"], ""), ("b", ["step:two"], "")]


def begins(kernel, meta, n, left):
    """Seconds from the end of the first cell to its reply, and from sending the second to its first line."""
    messages, _ = kernel.answer(kernel.send(left.format(n=n) + "\nimport time; print(time.time())", meta("a")))
    replied = time.time()
    done = float(printed(messages))
    sent = time.time()
    messages, _ = kernel.answer(kernel.send(NEXT.format(n=n), meta("b")))
    began = float(printed(messages))
    return replied - done, began - sent


def main():
    kedge, plain = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    d = Desk(CELLS, kedge, plain)
    n = 0
    for what in LEFT:
        rows = []
        for _ in range(rounds + 1):
            n += 1
            rows.append([x for k in (d.plain, d.kedge) for x in begins(k, d.metadata, n, LEFT[what])])
            time.sleep(1.5)
        end, start, kedge_end, kedge_start = [statistics.median(c) * 1e3 for c in zip(*rows[1:], strict=True)]
        print(f"{what:16} is left: replied after, ms {end:5.1f} {kedge_end:6.1f}; next cell begins after, ms {start:5.1f} {kedge_start:6.1f}",
              flush=True)
    d.close()


if __name__ == "__main__":
    main()
