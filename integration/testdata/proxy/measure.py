"""Compare a plain kernel with one behind the proxy, in interleaved pairs.

usage: measure.py KEDGE PYTHON [ROUNDS]. Prints one line per figure: plain, proxied.
"""
import statistics
import sys
import time

import psutil
from rawclient import Kernel

DISPLAYS = "for i in range(5000): display({'text/plain': 'x' * 200}, raw=True)"
BIG = "display({'text/plain': 'x' * (64 << 20)}, raw=True)"


def round_trips(client, n):
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        msg_id = client.request("is_complete_request", {"code": "1"})
        while client.receive("shell")["parent"]["msg_id"] != msg_id:
            pass
        times.append((time.perf_counter() - begin) * 1e3)
    client.drain(0.1)
    return times


def seconds(client, code):
    """Time until the idle status of a cell has come, frames only: what the client does with them is no matter."""
    msg_id = client.execute(code).encode()
    begin = time.perf_counter()
    while True:
        frames = client.sockets["iopub"].recv_multipart(copy=False)
        if len(frames[-1]) < 100 and b"idle" in bytes(frames[-1]) and msg_id in bytes(frames[-3]):
            break
    elapsed = time.perf_counter() - begin
    client.drain(0.1)
    return elapsed


def main():
    kedge, python = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    plain = Kernel([python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], transport="tcp")
    proxied = Kernel([kedge, "kernel", "-f", "{connection_file}", "--python", python], transport="tcp")
    with plain, proxied:
        pair = [plain.client(), proxied.client()]
        for c in pair:
            c.drain(0.5)
        rest = psutil.Process(proxied.process.pid).memory_info().rss
        trips, rate, big = ([], []), ([], []), ([], [])
        for _ in range(rounds):
            for i, c in enumerate(pair):
                trips[i].extend(round_trips(c, 100))
            for i, c in enumerate(pair):
                rate[i].append(5000 / seconds(c, DISPLAYS))
            for i, c in enumerate(pair):
                big[i].append(seconds(c, BIG))
        p50 = [statistics.median(t) for t in trips]
        p99 = [statistics.quantiles(t, n=100)[98] for t in trips]
        print(f"round trip p50, ms          {p50[0]:8.2f} {p50[1]:8.2f}   {p50[1] - p50[0]:+.2f} (target at most +1)")
        print(f"round trip p99, ms          {p99[0]:8.2f} {p99[1]:8.2f}   {p99[1] - p99[0]:+.2f} (target at most +3)")
        median = [statistics.median(r) for r in rate]
        print(f"displays per second         {median[0]:8.0f} {median[1]:8.0f}   {median[1] / median[0]:.2f}x (target at least 1.00x)")
        median = [statistics.median(b) for b in big]
        print(f"one display of 64 MiB, s    {median[0]:8.3f} {median[1]:8.3f}   {median[1] / median[0]:.2f}x (target at most 1.00x)")
        print(f"memory of the proxy at rest, MiB     {rest / 2**20:8.1f}   (target under 40)")


if __name__ == "__main__":
    main()
