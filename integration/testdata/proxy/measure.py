"""Compare a plain kernel with one behind the proxy, in interleaved pairs.

usage: measure.py KEDGE PYTHON [ROUNDS]. Prints one line per figure: plain, proxied.

Output is read by a client of bytes, which does next to nothing, so that a machine with few cores measures kernel and
proxy, not the client; a figure of Jupyter's own way to read, pyzmq, stands beside it. What each process takes of the
processor is less of a matter of luck than the time on the clock: the threads of ipykernel fight over Python's lock, and
the same cell in the same plain kernel takes up to three times as long as the last.
"""
import socket
import statistics
import struct
import sys
import time

import psutil
from rawclient import Kernel

DISPLAYS = "for i in range(5000): display({'text/plain': 'x' * 200}, raw=True)"
BIG = "display({'text/plain': 'x' * (64 << 20)}, raw=True)"


class Bytes:
    """A subscriber to all of iopub over TCP that looks for the idle status in what comes, and for nothing else."""

    def __init__(self, kernel):
        self.socket = socket.create_connection(("127.0.0.1", kernel.info["iopub_port"]))
        ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
        for said in (b"\xff" + bytes(7) + b"\x01\x7f\x03\x00NULL" + bytes(48), bytes([4, len(ready)]) + ready, b"\x00\x01\x01"):
            self.socket.sendall(said)  # libzmq closes the connection if all comes at once
            time.sleep(0.1)
        self.memory = bytearray(1 << 20)

    def seconds(self, client, code):
        """Time until the idle status of a cell, which client asks for, has come."""
        self.quiet()
        client.execute(code)
        begin, last = time.perf_counter(), b""
        while b'"idle"' not in last:
            n = self.socket.recv_into(self.memory)
            assert n, "the kernel closed the connection"
            last = last[-8:] + self.memory[max(n - 4096, 0):n]
        return time.perf_counter() - begin

    def quiet(self):
        self.socket.settimeout(0.3)
        try:
            while self.socket.recv_into(self.memory):
                pass
        except TimeoutError:
            self.socket.settimeout(None)


class Arm:
    """A kernel with its clients, and the processes that take part."""

    def __init__(self, kernel):
        self.kernel, self.client, self.bytes = kernel, kernel.client(), Bytes(kernel)
        self.client.sockets["iopub"].unsubscribe(b"")
        self.reader = kernel.client()  # subscribed only while it is measured
        self.reader.sockets["iopub"].unsubscribe(b"")
        top = psutil.Process(kernel.process.pid)
        below = [p for p in top.children(recursive=True) if p.memory_info().rss > 20 << 20]
        self.parts = {"kernel": below[0], "proxy": top} if below else {"kernel": top}
        self.taken = {}

    def output(self, code):
        """Time of a cell for the client of bytes; what the processes take meanwhile is added up."""
        self.drain()
        before = self.processor()
        elapsed = self.bytes.seconds(self.client, code)
        for name, spent in self.processor().items():
            self.taken.setdefault(code, {}).setdefault(name, []).append(spent - before[name])
        return elapsed

    def pyzmq(self, code):
        """Time of a cell for a client that reads frames with pyzmq."""
        iopub = self.reader.sockets["iopub"]
        iopub.subscribe(b"")
        time.sleep(0.2)
        self.drain()
        msg_id = self.reader.execute(code).encode()
        begin = time.perf_counter()
        while True:
            frames = iopub.recv_multipart(copy=False)
            if len(frames[-1]) < 100 and b"idle" in bytes(frames[-1]) and msg_id in bytes(frames[-3]):
                break
        elapsed = time.perf_counter() - begin
        iopub.unsubscribe(b"")
        return elapsed

    def drain(self):
        self.client.drain(0.1)
        self.reader.drain(0.1)
        self.bytes.quiet()

    def processor(self):
        return {name: sum(p.cpu_times()[:2]) for name, p in self.parts.items()}

    def spent(self, code):
        """Median seconds of processor time by process."""
        return {name: statistics.median(spent) for name, spent in self.taken[code].items()}

    def round_trips(self, n):
        self.drain()
        times = []
        for _ in range(n):
            begin = time.perf_counter()
            msg_id = self.client.request("is_complete_request", {"code": "1"})
            while self.client.receive("shell")["parent"]["msg_id"] != msg_id:
                pass
            times.append((time.perf_counter() - begin) * 1e3)
        return times


def figure(name, unit, pair, target=None, better=min, digits=2):
    a, b = [statistics.median(p) for p in pair]
    best = [better(p) for p in pair]
    goal = f" (target {target})" if target else ""
    print(f"{name + ', ' + unit:40}{a:10.{digits}f}{b:10.{digits}f}   {b / a:.2f}x, best rounds {best[1] / best[0]:.2f}x{goal}")


def main():
    kedge, python = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    plain = Kernel([python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], transport="tcp")
    proxied = Kernel([kedge, "kernel", "-f", "{connection_file}", "--python", python], transport="tcp")
    with plain, proxied:
        rest = psutil.Process(proxied.process.pid).memory_info().rss
        arms = [Arm(plain), Arm(proxied)]
        trips, rate, zmq_rate, big, zmq_big = ([[], []] for _ in range(5))
        for n in range(rounds):
            for i in (0, 1) if n % 2 else (1, 0):
                trips[i].extend(arms[i].round_trips(100))
                rate[i].append(5000 / arms[i].output(DISPLAYS))
                zmq_rate[i].append(5000 / arms[i].pyzmq(DISPLAYS))
            for i in (0, 1) if n % 2 else (1, 0):
                big[i].append(arms[i].output(BIG))
                zmq_big[i].append(arms[i].pyzmq(BIG))
        for name, of in (("p50", statistics.median), ("p99", lambda t: statistics.quantiles(t, n=100)[98])):
            a, b = [of(t) for t in trips]
            print(f"{'round trip ' + name + ', ms':40}{a:10.2f}{b:10.2f}   {b - a:+.2f} (target at most {'+1' if name == 'p50' else '+3'})")
        figure("displays, client of bytes", "1/s", rate, "at least 1.00x", max, 0)
        figure("displays, pyzmq", "1/s", zmq_rate, None, max, 0)
        figure("a display of 64 MiB, client of bytes", "s", big, "at most 1.00x", min, 3)
        figure("a display of 64 MiB, pyzmq", "s", zmq_big, None, min, 3)
        for name, code, n, unit in (("a display", DISPLAYS, 5000, "µs"), ("a display of 64 MiB", BIG, 1, "ms")):
            scale = 1e6 if unit == "µs" else 1e3
            spent = [arm.spent(code) for arm in arms]
            says = [", ".join(f"{k} {v / n * scale:.0f}" for k, v in s.items()) for s in spent]
            print(f"processor for {name}, {unit}: {says[0]}; proxied: {says[1]}")
        print(f"memory of the proxy at rest, MiB {rest / 2**20:.1f} (target under 40)")


if __name__ == "__main__":
    main()
