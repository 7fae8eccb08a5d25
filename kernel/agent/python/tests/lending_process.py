"""python lending_process.py FOLDER SETUP CELL NEXT: prints as JSON what a capture of CELL holds after NEXT has run.

By the names of a group: whether its first buffer was lent, and that buffer's first and last number. kill is what NEXT
calls to end the fork that lends.
"""
import json
import os
import signal
import sys

import numpy as np
from beside import Beside, Kernel
from kedge_agent import handlers


def main(folder, setup, cell, then):
    kernel = Kernel()
    agent, space = handlers.register(kernel), kernel.shell.user_ns
    beside = Beside(agent, folder)
    agent.before({"code": setup})
    kernel.shell.run_cell(setup)
    agent.after({"spool": beside.spool, "mates": []})
    agent.before({"code": cell})
    assert kernel.shell.run_cell(cell).success
    beside.capture(lend=True)
    exec(then, space)
    left = beside.told()
    found = {" ".join(u["with"]): u["reason"] for u in left["uncaptured"]}
    for group in left["groups"]:
        for buffer in group["buffers"][:1]:
            held = np.frombuffer(beside.read(buffer))
            found[" ".join(group["names"])] = [len(buffer) == 4, float(held[0]), float(held[-1])]
    beside.close()
    agent.before({"code": "pass"})  # after which code runs that may wait for any child
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print(json.dumps(found))


signal.alarm(120)
main(*sys.argv[1:])
