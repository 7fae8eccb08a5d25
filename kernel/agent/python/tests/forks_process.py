"""python forks_process.py FOLDER N: captures N cells of a program with models, threads and a loop beside the next."""
import asyncio
import os
import sys
import threading
import time

import lightgbm
import numpy as np
import xgboost
from beside import Beside, Kernel
from kedge_agent import handlers
from sklearn.ensemble import HistGradientBoostingRegressor


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
    beside = Beside(agent, folder)
    code = "big[:] = {}; (booster, light, forest)"
    for n in range(forks):
        agent.before({"code": code.format(n)})
        kernel.shell.run_cell(f"big[:] = {n}; p = [m.predict(x)[0] for m in (booster, light, forest)]")
        beside.capture(lend=n % 2 == 0)
        big[:] = -1  # the next cell
        left = beside.told()
        names = sorted(n for g in left["groups"] for n in g["names"])
        assert {"big", "booster", "forest", "light"} <= set(names), (n, names, left["uncaptured"])
        buffer = next(g for g in left["groups"] if "big" in g["names"])["buffers"][0]
        assert (len(buffer) == 4) == (n % 2 == 0), f"capture {n}: {buffer}"
        held = np.frombuffer(beside.read(buffer))
        assert (held == n).all(), f"capture {n} holds what the next cell wrote"
        beside.close()
    agent.before({"code": "pass"})  # after which code runs that may wait for any child
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no children")


main(sys.argv[1], int(sys.argv[2]))
