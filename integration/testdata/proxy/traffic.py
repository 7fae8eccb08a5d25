"""Mixed traffic on one notebook's kernel: what people, front ends, port scanners and killed clients do to it."""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

import psutil
from rawclient import CHANNELS, Client, Kernel

SAMPLE = 50  # actions between two looks at the proxy's memory
SLACK = 16 << 20  # bytes that the memory may differ by
LIMIT = 60  # seconds for an answer


class Visitors:
    """Clients in processes of their own, that can be killed. The process that forks them has no thread and no socket."""

    def __init__(self):
        self.host = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def come(self, name, kernel, what):
        """Start a client and return its process id once it has connected."""
        order = json.dumps([name, kernel.dir, kernel.info, what])
        self.host.stdin.write(order.encode() + b"\n")
        self.host.stdin.flush()
        return int(self.host.stdout.readline())

    def close(self):
        self.host.stdin.close()
        self.host.wait(10)


def host():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                visit(*json.loads(line))
            finally:
                os._exit(0)


def visit(name, folder, info, what):
    """Be a client until the kill: one that asks and reads, that asks and does not read, or that only listens and does not read."""
    import zmq

    kernel = Kernel.__new__(Kernel)
    kernel.dir, kernel.info, kernel.key, kernel.context = folder, info, info["key"].encode(), zmq.Context()
    client = Client(kernel, identity=name.encode())
    client.sockets["iopub"].rcvhwm = 1
    client.request("kernel_info_request", {}, msg_id=f"{name}-0")
    client.receive("shell")
    if what == "question":
        client.execute("input('?')", msg_id=f"{name}-1")
        client.receive("stdin")
    elif what != "stall":
        for i in range(1, 6):
            client.execute(f"import time\ntime.sleep(0.01)\nprint({i})", msg_id=f"{name}-{i}")
    print(os.getpid(), flush=True)
    while True:
        if what == "read":
            client.drain(0.2)
        else:
            time.sleep(1)


class Traffic:
    """Plays actions and keeps account of every message: each request has one reply, one busy and one idle."""

    def __init__(self, kernel, visitors, cells, dice):
        self.kernel, self.visitors, self.cells, self.dice = kernel, visitors, cells, dice
        self.client = Client(kernel)
        self.replies, self.states, self.asked, self.text, self.uncertain = {}, {}, {}, {}, set()
        self.samples, self.lives, self.counts, self.guests = [], [], {}, []
        self.began = time.time()
        self.ready()

    # The account.

    def pump(self, seconds=0.2):
        """Take what has come; false if nothing does for so long."""
        import zmq

        poller = zmq.Poller()
        for s in self.client.sockets.values():
            poller.register(s, zmq.POLLIN)
        came = False
        for s, _ in poller.poll(seconds * 1000):
            name = next(n for n, own in self.client.sockets.items() if own is s)
            while m := self.client.receive(name, 0):
                self.take(name, m)
                came = True
        return came

    def take(self, channel, m):
        parent, kind = m["parent"].get("msg_id"), m["header"]["msg_type"]
        if channel == "iopub":
            if kind == "status" and m["content"]["execution_state"] in ("busy", "idle"):
                self.states.setdefault(parent, []).append(m["content"]["execution_state"])
            if kind == "stream":
                self.text[parent] = self.text.get(parent, "") + m["content"]["text"]
        elif channel == "stdin":
            self.client.request("input_reply", {"value": "an answer", "status": "ok"}, "stdin", parent=m["header"])
        else:
            self.replies.setdefault(parent, []).append(m)

    def ask(self, kind, content, channel="shell", replies=True, **options):
        msg_id = self.client.request(kind, content, channel, **options)
        self.asked[msg_id] = replies
        return msg_id

    def execute(self, code, metadata=None, **content):
        full = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": False}
        return self.ask("execute_request", {**full, **content}, metadata=metadata)

    def wait(self, msg_id):
        """The reply's content, once the request has ended."""
        deadline = time.time() + LIMIT
        while not (self.states.get(msg_id, [])[-1:] == ["idle"] and (msg_id in self.replies or not self.asked[msg_id])):
            assert time.time() < deadline, f"no end: {self.states.get(msg_id)}, {self.replies.get(msg_id)}"
            self.pump()
        return self.replies[msg_id][-1]["content"] if self.asked[msg_id] else None

    def settle(self):
        """The account closed: all that was asked is answered once, and nothing else."""
        while self.pump(0.3):
            pass
        for msg_id, replies in self.asked.items():
            assert len(self.replies.get(msg_id, [])) == replies, (msg_id, self.replies.get(msg_id))
            assert self.states.get(msg_id) == ["busy", "idle"], (msg_id, self.states.get(msg_id))
        strange = set(self.replies) - set(self.asked) - self.uncertain
        assert not strange, f"replies to nobody's requests: {strange}"
        for msg_id, states in self.states.items():
            assert states == ["busy", "idle"] or msg_id in self.uncertain, (msg_id, states)
        self.replies, self.states, self.asked, self.text, self.uncertain = {}, {}, {}, {}, set()

    # Lives of the kernel.

    def ready(self):
        """Wait until the kernel answers."""
        deadline = time.time() + LIMIT
        while True:
            msg_id = self.client.request("kernel_info_request", {})
            self.uncertain.add(msg_id)
            while self.pump(0.5):
                pass
            if msg_id in self.replies:
                break
            assert time.time() < deadline, "the kernel does not answer"
        for known in [k for k in self.replies if k not in self.asked]:
            del self.replies[known]
        self.uncertain |= {k for k in self.states if k not in self.asked}
        self.samples = []

    def sample(self):
        self.leave()
        self.settle()
        self.samples.append(self.now())

    def now(self):
        """Memory, descriptors, threads and children of the proxy."""
        proxy = psutil.Process(self.kernel.process.pid)
        info = proxy.memory_info()
        return info.rss, proxy.num_fds(), proxy.num_threads(), len([p for p in proxy.children() if p.status() != psutil.STATUS_ZOMBIE])

    def judge(self):
        """The proxy is as it was when it had been used for a while."""
        self.lives.append(self.samples)
        if len(self.samples) < 8:
            return
        n = len(self.samples)
        early, late = self.samples[n // 4:n // 2], self.samples[3 * n // 4:]
        for i, (what, slack) in enumerate([("bytes", SLACK), ("descriptors", 3), ("threads", 8), ("children", 1)]):
            was, now = (max(s[i] for s in part) for part in (early, late))
            if now > was + slack:
                now = self.fallen(i, was + slack)
            assert now <= was + slack, f"{what} of the proxy: {[s[i] for s in self.samples]}"

    def fallen(self, i, enough):
        """What a figure is once it is at most enough, or has had the time: a connection, or a spare kernel, is about to end;
        Go collects waste every two minutes at the latest, and gives memory back in the minutes after that."""
        until = time.time() + 300
        while (now := self.now()[i]) > enough and time.time() < until:
            time.sleep(1)
        return now

    def leave(self):
        """Every visitor is killed."""
        for pid in self.guests:
            os.kill(pid, signal.SIGKILL)
        self.guests = []

    # Actions.

    def requests(self):
        for kind, content in [("complete_request", {"code": "pri", "cursor_pos": 3}), ("is_complete_request", {"code": "1"}), ("kernel_info_request", {}),
                              ("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0}), ("comm_info_request", {}),
                              ("history_request", {"hist_access_type": "tail", "n": 3, "output": False, "raw": True})]:
            self.ask(kind, content, self.dice.choice(["shell", "shell", "control"]) if kind == "kernel_info_request" else "shell")
        for msg_id in list(self.asked)[-6:]:
            self.wait(msg_id)

    def all_cells(self):
        ids = [self.execute(source, {"cellId": cell, "tags": [f"step:{cell}"]}) for cell, source in self.cells]
        for msg_id in ids:
            assert self.wait(msg_id)["status"] == "ok"

    def one_cell(self):
        cell, source = self.dice.choice(self.cells)
        self.wait(self.execute(source, {"cellId": cell, "tags": [f"step:{cell}"]}))

    def foreign(self):
        n = self.dice.randrange(10**6)
        msg_id = self.execute(f"w = {n}\nprint(w)", store_history=self.dice.random() < 0.5)
        self.wait(msg_id)
        while self.pump(0.02):
            pass
        assert self.text[msg_id] == f"{n}\n", self.text[msg_id]

    def displays(self):
        self.wait(self.execute("for i in range(200): display({'text/plain': str(i)}, raw=True)"))

    def large(self):
        size = self.dice.choice([10_000, 1_000_000, 3_000_000])
        msg_id = self.execute(f"print('x' * {size})")
        self.wait(msg_id)
        while self.pump(0.02):
            pass
        assert len(self.text[msg_id]) == size + 1

    def question(self):
        msg_id = self.execute("print(input('name? '))")
        self.wait(msg_id)
        assert self.text[msg_id] == "an answer\n"

    def fails(self):
        """An error ends what waits behind it."""
        codes = ["1", "import time; time.sleep(0.1)\n1/0", "2", "3"]
        ids = [self.execute(c, stop_on_error=True) for c in codes]
        assert [self.wait(i)["status"] for i in ids] == ["ok", "error", "aborted", "aborted"]
        while self.wait(self.execute("None", store_history=False))["status"] == "aborted":
            pass

    def interrupt(self):
        msg_id = self.execute("import time\nprint('go', flush=True)\nwhile True: time.sleep(0.01)")
        while msg_id not in self.text:
            assert self.pump(LIMIT)
        self.wait(self.ask("interrupt_request", {}, "control"))
        assert self.wait(msg_id)["ename"] == "KeyboardInterrupt"

    def comm(self):
        comm = os.urandom(16).hex()
        for kind, content in [("comm_open", {"target_name": "jupyter.widget.control", "data": {}}), ("comm_msg", {"data": {"method": "request_states"}}), ("comm_close", {"data": {}})]:
            self.wait(self.ask(kind, {"comm_id": comm, **content}, replies=False))

    def magic(self):
        assert self.wait(self.execute(self.dice.choice(["%kedge status", "%kedge why", "%kedge off", "%kedge on"])))["status"] == "ok"

    def back(self):
        self.wait(self.execute("%kedge on"))
        assert self.wait(self.execute("%kedge restore"))["status"] == "ok"

    def visitor(self):
        """A client that is killed at any moment of its requests. Which of them the kernel gets depends on it."""
        name = f"v{self.dice.randrange(10**9)}"
        self.uncertain |= {f"{name}-{i}" for i in range(6)}
        pid = self.visitors.come(name, self.kernel, self.dice.choice(["read", "ask"]))
        time.sleep(self.dice.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        self.even(name)

    def even(self, name):
        """What began of a visitor's requests ends."""
        deadline = time.time() + LIMIT
        while self.pump(0.3) or any(len(v) % 2 for k, v in self.states.items() if (k or "").startswith(f"{name}-")):
            assert time.time() < deadline, {k: v for k, v in self.states.items() if (k or "").startswith(name)}
        for k, v in self.states.items():
            assert not (k or "").startswith(f"{name}-") or v == ["busy", "idle"], (k, v)

    def stalled(self):
        """Clients that listen and do not read, until they are killed, while others go on."""
        for _ in range(2):
            name = f"v{self.dice.randrange(10**9)}"
            self.guests.append(self.visitors.come(name, self.kernel, "stall"))
        self.large()

    def asks_and_dies(self):
        """A client that is killed while the kernel waits for its answer: an interrupt ends the question."""
        name = f"v{self.dice.randrange(10**9)}"
        pid = self.visitors.come(name, self.kernel, "question")
        os.kill(pid, signal.SIGKILL)
        self.wait(self.ask("interrupt_request", {}, "control"))
        self.even(name)

    def reconnect(self):
        """The same client comes again, right before or after its old connections are closed; the replies go to the new one."""
        self.settle()
        old, first = self.client, self.dice.random() < 0.5
        old.close() if first else None
        self.client = Client(self.kernel, identity=old.identity)
        old.close() if not first else None
        self.subscribed()
        self.foreign()

    def subscribed(self):
        """Wait until the client's own iopub hears."""
        deadline = time.time() + LIMIT
        while True:
            assert time.time() < deadline, "iopub is not heard"
            msg_id = self.client.request("kernel_info_request", {})
            self.uncertain.add(msg_id)
            while self.pump(0.1):
                pass
            if "idle" in self.states.get(msg_id, []) and self.replies.pop(msg_id, None):
                return

    def probe(self):
        """What scans ports: it connects and goes, says nothing, or something else than ZMTP."""
        held = []
        for channel in CHANNELS:
            s = socket.create_connection(("127.0.0.1", self.kernel.info[f"{channel}_port"]))
            s.sendall(self.dice.choice([b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(200), b"\xff" + bytes(8) + b"\x7f\x03"]))
            held.append(s)
        self.foreign()
        for s in held:
            s.close()

    def heartbeat(self):
        beat = Client(self.kernel, channels=("hb",))
        beat.sockets["hb"].send_multipart([b"", b"ping"])
        assert beat.sockets["hb"].poll(LIMIT * 1000) and beat.sockets["hb"].recv_multipart() == [b"", b"ping"]
        beat.close()

    def restart(self):
        """As Jupyter restarts a kernel: the same ports, the clients stay."""
        self.leave()
        self.settle()
        self.judge()
        self.client.request("shutdown_request", {"restart": True}, "control")
        assert self.kernel.process.wait(20) == 0
        self.kernel.start()
        self.replies, self.states = {}, {}
        self.ready()

    def run(self, actions):
        frequent = [self.requests, self.all_cells, self.one_cell, self.foreign, self.displays, self.large, self.visitor, self.probe, self.reconnect, self.heartbeat]
        usual = [self.question, self.fails, self.interrupt, self.comm, self.magic, self.stalled, self.asks_and_dies]
        for number in range(1, actions + 1):
            dice = self.dice.random()
            act = self.restart if dice < 0.001 else self.back if dice < 0.006 else self.dice.choice(usual if dice < 0.3 else frequent)
            self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
            try:
                act()
            except BaseException:
                print(f"action {number}: {act.__name__}", file=sys.stderr)
                raise
            if number % SAMPLE == 0:
                self.sample()

    def end(self):
        self.leave()
        self.settle()
        self.judge()
        self.client.request("shutdown_request", {"restart": False}, "control")
        assert self.kernel.process.wait(20) == 0
        self.client.close()
        self.kernel.__exit__()

    def report(self):
        yield f"{sum(self.counts.values())} actions in {time.time() - self.began:.0f} s: every request has one reply, one busy, one idle {json.dumps(self.counts)}"
        for life in self.lives:
            if len(life) > 1:
                rss, fds, threads, children = zip(*life, strict=True)
                yield (f"a life of {len(life)} samples, first, median, last: {rss[0] >> 20}, {int(statistics.median(rss)) >> 20}, {rss[-1] >> 20} MiB, "
                       f"{fds[0]}, {int(statistics.median(fds))}, {fds[-1]} descriptors, {threads[0]}, {int(statistics.median(threads))}, {threads[-1]} threads")


if __name__ == "__main__":
    host()
