"""A Jupyter client of frames: it sees every byte that a kernel sends, and can send what no real client would."""
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import time
import uuid

import zmq

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
DELIMITER = b"<IDS|MSG>"


class Kernel:
    """A kernel process on sockets of its own. argv has {connection_file}. Use it as a context."""

    def __init__(self, argv, transport="ipc", env=None, first_port=11, wait=60, **popen):
        self.dir = tempfile.mkdtemp(prefix="kt-")
        self.file = os.path.join(self.dir, "kernel-test.json")
        self.key = uuid.uuid4().hex.encode()
        info = {"transport": transport, "key": self.key.decode(), "signature_scheme": "hmac-sha256", "kernel_name": "t"}
        info["ip"] = os.path.join(self.dir, "s") if transport == "ipc" else "127.0.0.1"
        for i, channel in enumerate(CHANNELS):
            info[f"{channel}_port"] = first_port + i if transport == "ipc" else free_port()
        with open(self.file, "w") as f:
            json.dump(info, f)
        self.info = info
        self.env = {**os.environ, "JPY_PARENT_PID": str(os.getpid()), "IPYTHONDIR": os.path.join(self.dir, "ipython"), **(env or {})}
        self.argv, self.popen = [a.replace("{connection_file}", self.file) for a in argv], popen
        self.start()
        self.context = zmq.Context()
        self.clients = []
        if wait:
            self.wait_for_sockets(wait)

    def start(self):
        """Start the process; again once it has ended, on the same sockets."""
        options = {"cwd": self.dir, **self.popen}
        self.process = subprocess.Popen(self.argv, env=self.env, start_new_session=True, stdin=subprocess.DEVNULL, **options)

    def wait_for_sockets(self, seconds):
        """Wait until the kernel answers on shell."""
        client = self.client()
        deadline = time.time() + seconds
        while time.time() < deadline:
            assert self.process.poll() is None, f"the kernel ended with {self.process.returncode}"
            client.request("kernel_info_request", {})
            if client.receive("shell", 0.5):
                break
        else:
            raise AssertionError("the kernel did not answer")
        client.drain(0.3)
        client.close()

    def address(self, channel):
        port = self.info[f"{channel}_port"]
        if self.info["transport"] == "ipc":
            return f"ipc://{self.info['ip']}-{port}"
        return f"tcp://{self.info['ip']}:{port}"

    def client(self, **options):
        client = Client(self, **options)
        self.clients.append(client)
        return client

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.context.destroy(linger=0)


class Client:
    """Four sockets under one identity."""

    def __init__(self, kernel, identity=None, subscribe=b"", channels=CHANNELS[:4]):
        self.kernel = kernel
        self.session = uuid.uuid4().hex
        self.identity = self.session.encode() if identity is None else identity
        self.sockets = {}
        for channel in channels:
            socket = kernel.context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
            socket.linger = 0
            if channel == "iopub":
                socket.rcvhwm = 0
                socket.subscribe(subscribe)
            elif self.identity:
                socket.identity = self.identity
            socket.connect(kernel.address(channel))
            self.sockets[channel] = socket

    def close(self):
        for socket in self.sockets.values():
            socket.close(0)

    def header(self, kind, msg_id=None, **more):
        return {"msg_id": msg_id or uuid.uuid4().hex, "msg_type": kind, "username": "u", "session": self.session,
                "date": "2026-01-01T00:00:00.000000Z", "version": "5.4", **more}

    def request(self, kind, content, channel="shell", metadata=None, buffers=(), parent=None, key=None, **header):
        """Send a message and return its id."""
        head = self.header(kind, **header)
        self.send_parts(channel, [json.dumps(p).encode() for p in (head, parent or {}, metadata or {}, content)], buffers, key)
        return head["msg_id"]

    def send_parts(self, channel, parts, buffers=(), key=None):
        frames = [DELIMITER, sign(self.kernel.key if key is None else key, parts), *parts, *buffers]
        self.sockets[channel].send_multipart(frames)
        return frames

    def execute(self, code, msg_id=None, **content):
        full = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True, "stop_on_error": True}
        return self.request("execute_request", {**full, **content}, msg_id=msg_id)

    def receive(self, channel, timeout=10):
        """The next message as {idents, header, parent, metadata, content, buffers}; None if none comes."""
        if not self.sockets[channel].poll(timeout * 1000):
            return None
        frames = self.sockets[channel].recv_multipart()
        at = frames.index(DELIMITER)
        parts = frames[at + 2:at + 6]
        assert frames[at + 1] == sign(self.kernel.key, parts), "wrong signature"
        head, parent, metadata, content = (json.loads(p) for p in parts)
        return {"idents": frames[:at], "header": head, "parent": parent, "metadata": metadata, "content": content,
                "buffers": frames[at + 6:], "channel": channel, "raw": parts}

    def answer(self, msg_id, channel="shell", timeout=30, idle=True, replies=True):
        """All messages about a request up to its reply and its idle status, in order of arrival by channel."""
        got, deadline = [], time.time() + timeout
        replied, idled = not replies, not idle
        poller = zmq.Poller()
        for name in ("shell", "control", "iopub"):
            poller.register(self.sockets[name], zmq.POLLIN)
        while not (replied and idled):
            assert time.time() < deadline, f"no end of {msg_id}: {[(m['channel'], m['header']['msg_type']) for m in got]}"
            for socket, _ in poller.poll(200):
                name = next(n for n, s in self.sockets.items() if s is socket)
                m = self.receive(name, 0)
                if m["parent"].get("msg_id") != msg_id:
                    got.append(m)
                    continue
                got.append(m)
                replied = replied or name == channel
                idled = idled or m["content"].get("execution_state") == "idle"
        return got

    def run(self, code, **content):
        """Execute code and return (reply content, text of streams)."""
        got = self.answer(self.execute(code, **content))
        reply = next(m for m in got if m["header"]["msg_type"] == "execute_reply")
        return reply["content"], "".join(m["content"]["text"] for m in got if m["header"]["msg_type"] == "stream")

    def drain(self, quiet):
        """Take what comes until nothing has come for quiet seconds."""
        while any(s.poll(quiet * 1000) for s in self.sockets.values()):
            for s in self.sockets.values():
                while s.poll(0):
                    s.recv_multipart()


def sign(key, parts):
    if not key:
        return b""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(part)
    return mac.hexdigest().encode()


def free_port():
    """A port that is free, and that the system gives to nobody who asks for any."""
    import random
    import socket

    while True:
        with socket.socket() as s:
            port = random.randrange(10000, 32000)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
