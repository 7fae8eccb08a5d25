"""What restoring costs in a live kernel: a hit on small state, code that is no cell of a step, going back with pandas imported,
a loop in a cell of a step, and doing nothing.

usage: measure_live.py KERNEL PLAIN [ROUNDS]. Prints one line per figure.
"""
import glob
import math
import os
import statistics
import sys
import time

import psutil
from live import Desk, kernels, printed

CELLS = [("a", ["step:one"], "import pandas as pd\ndf = pd.DataFrame({'v': range(1000)})"), ("b", ["step:two"], "y = df.v.sum()\nprint(y)"),
         ("c", ["step:three"], "z = [y]")]


def milliseconds(kernel, code, metadata):
    begin = time.perf_counter()
    kernel.answer(kernel.send(code, metadata))
    return (time.perf_counter() - begin) * 1e3


def foreign(d, n):
    """Pairs of (Kedge, plain): the first after a cell of a step apart."""
    pairs = []
    for i in range(n + 1):
        pairs.append([milliseconds(k, f"w = {i}", {}) for k in (d.kedge, d.plain)])
    return pairs[1:]


def hits(d, n):
    """Of cells b and c in turn."""
    return [milliseconds(d.kedge, d.cells[c][2], d.metadata(c)) for _ in range(n) for c in "bc"]


def back(d, ready):
    """Going back to the end of step two, once a spare kernel has imported pandas or with none."""
    proxy = psutil.Process(d.kedge.km.provisioner.process.pid)

    def spares():
        return [p for p in kernels(proxy)[1:] if any("pandas/_libs/tslibs" in m.path for m in p.memory_maps())]

    if ready:
        until = time.monotonic() + 60
        while not spares() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # the rest of its imports
    return milliseconds(d.kedge, "%kedge restore two", {})


LOOP = """import time
def loop(n):
    total, began = 0, time.thread_time()
    for i in range(n): total += i % 7
    return time.thread_time() - began
print(loop({n}))"""


def loops(d, n):
    """What a loop in a cell of a step takes of the processor, as a ratio to plain: (low, middle, high) of 95 %, of n pairs."""
    ratios = []
    for i in range(n):
        took = []
        for k in (d.kedge, d.plain) if i % 2 else (d.plain, d.kedge):
            messages, reply = k.answer(k.send(LOOP.format(n=2_000_000 + i), d.metadata("c")))
            assert reply["metadata"].get("kedge", {}).get("status") != "restored"
            took.append(float(printed(messages)))
        ratios.append(math.log(took[0] / took[1]) * (1 if i % 2 else -1))
    middle, error = statistics.mean(ratios), 2.1 * statistics.stdev(ratios) / math.sqrt(n)
    return [math.exp(middle + x) for x in (-error, 0, error)]


def idle(d, seconds):
    """Percent of a processor that a hundred proxies would take between them while nobody asks for anything: with the
    heartbeat that jupyter_client sends each second, and without it, as Jupyter's server."""
    threads = f"/proc/{d.kedge.km.provisioner.process.pid}/task/*/schedstat"

    def spent():
        return sum(int(open(path).read().split()[0]) for path in glob.glob(threads)) / 1e9

    def percent():
        before = spent()
        time.sleep(seconds)
        return (spent() - before) / seconds * 100 * 100

    time.sleep(5)  # a spare kernel has started, what was kept is written
    beating = percent()
    d.kedge.kc.hb_channel.pause()
    time.sleep(2)
    return beating, percent()


def main():
    kedge, plain = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    d = Desk(CELLS, kedge, plain)
    for cell in "abc":
        d.run(cell, "ran")
    small = statistics.median(hits(d, rounds))
    asked = foreign(d, 10 * rounds)
    loop = loops(d, 5 * rounds)
    still = idle(d, 20)
    warm, cold = [], []
    for _ in range(max(rounds // 2, 1)):
        warm.append(back(d, True))
        cold.append(back(d, False))
    d.close()
    own, theirs = [statistics.median(p) for p in zip(*asked, strict=True)]
    print(f"a hit on small state, ms             {small:8.1f}   (target under 20)")
    print(f"code that is no cell of a step, ms   {theirs:8.2f} {own:8.2f}   {own - theirs:+.2f} (target at most +1)")
    print("a loop in a cell of a step           {1:8.3f}x, 95 %: {0:.3f} to {2:.3f}   (target: 1.00 is in it)".format(*loop))
    print(f"100 idle proxies, % of a processor   {still[1]:8.2f}   (target under 1), {still[0]:.2f} with a heartbeat each second")
    print(f"going back with pandas, spare, ms    {statistics.median(warm):8.0f}   (target under 500)")
    print(f"going back with pandas, none, ms     {statistics.median(cold):8.0f}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
