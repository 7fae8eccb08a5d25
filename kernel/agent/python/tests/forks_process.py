"""python forks_process.py FOLDER N: captures N cells of a program with models, threads and a loop beside the next."""
import asyncio
import json
import os
import signal
import sys
import threading
import time

import lightgbm
import numpy as np
import xgboost
from IPython.core.interactiveshell import InteractiveShell
from kedge_agent import handlers
from sklearn.ensemble import HistGradientBoostingRegressor

PATIENCE = 60  # seconds until a capture counts as hanging


class Kernel:
    """As much of a kernel as the agent needs."""

    def __init__(self):
        self.shell = InteractiveShell.instance()
        self.shell_handlers, self.control_handlers = {}, {}


def spin():
    while True:
        pass


def rest():
    while True:
        time.sleep(0.001)


def tick():
    loop = asyncio.new_event_loop()

    async def forever():
        while True:
            await asyncio.sleep(0.001)

    loop.run_until_complete(forever())


def main(folder, forks):
    rng = np.random.default_rng(0)
    x, y = rng.random((2000, 10)), rng.random(2000)
    kernel = Kernel()
    agent = handlers.register(kernel)
    big = np.ones(1 << 20)
    kernel.shell.user_ns.update(
        booster=xgboost.XGBRegressor(n_estimators=5, n_jobs=2).fit(x, y), big=big, np=np, x=x,
        light=lightgbm.LGBMRegressor(n_estimators=5, n_jobs=2, verbose=-1).fit(x, y),
        forest=HistGradientBoostingRegressor(max_iter=5).fit(x, y))
    for work in (spin, rest, tick):
        threading.Thread(target=work, daemon=True).start()
    fifo, spool = os.path.join(folder, "late"), os.path.join(folder, "spool")
    os.mkfifo(fifo)
    code = "big[:] = {}; (booster, light, forest)"
    for n in range(forks):
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        agent.before({"code": code.format(n)})
        kernel.shell.run_cell(f"big[:] = {n}; p = [m.predict(x)[0] for m in (booster, light, forest)]")
        reply = agent.after({"spool": spool, "mates": [], "later": fifo})
        assert reply.get("late"), "captured without a fork"
        big[:] = -1  # the next cell
        os.set_blocking(reader, True)
        signal.alarm(PATIENCE)
        told = b""
        while part := os.read(reader, 1 << 20):
            told += part
        signal.alarm(0)
        os.close(reader)
        left = json.loads(told.partition(b"\n")[2])
        names = sorted(n for g in left["groups"] for n in g["names"])
        assert {"big", "booster", "forest", "light"} <= set(names), (n, names, left["uncaptured"])
        group = next(g for g in left["groups"] if "big" in g["names"])
        with open(spool, "rb") as file:
            file.seek(group["buffers"][0][0])
            held = np.frombuffer(file.read(group["buffers"][0][1]))
        assert (held == n).all(), f"capture {n} holds what the next cell wrote"
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no children")


main(sys.argv[1], int(sys.argv[2]))
