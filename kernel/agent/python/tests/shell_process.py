"""IPython shells with the agent, forked from a process that has imported IPython only.

``python shell_process.py DESCRIPTOR``, of a listening socket: each connection is a fresh shell. Its first line is the
folder to work in, each further line one JSON message {"op", …}, answered by one line.
"""
import contextlib
import io
import json
import os
import pathlib
import signal
import socket
import sys
import types

from IPython.core.interactiveshell import InteractiveShell

SOURCES = str(pathlib.Path(__file__).parents[1])
InteractiveShell.enable_gui = lambda self, gui=None: None  # as a kernel does for the inline backend


def start() -> tuple:
    """(shell, agent) of this process."""
    sys.path.insert(0, SOURCES)
    from kedge_agent import environ, handlers, importing
    del sys.path[0]
    shell = InteractiveShell.instance()
    agent = handlers.Agent(types.SimpleNamespace(shell=shell))
    environ.install()
    importing.watch(agent.outside.local.imported)
    sys.path[0] = ""
    return shell, agent


def run(shell: InteractiveShell, message: dict) -> dict:
    """Run code; the text that it printed and the value of an expression."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        shell.run_cell(message["code"], store_history=True).raise_error()
        value = eval(message["look"], shell.user_ns) if "look" in message else None
    return {"out": out.getvalue(), "value": repr(value)}


def serve(connection: socket.socket) -> None:
    """Be one shell until the other side hangs up."""
    stream = connection.makefile("r")
    os.chdir(stream.readline().rstrip("\n"))
    shell, agent = start()
    for line in stream:
        message = json.loads(line)
        op = message.pop("op")
        try:
            reply = run(shell, message) if op == "run" else getattr(agent, op)(message)
        except BaseException as err:
            reply = {"error": f"{type(err).__name__}: {err}"}
        connection.sendall(json.dumps(reply).encode() + b"\n")


def main() -> None:
    """Accept connections until killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the shells
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                serve(connection)
                os._exit(0)
            connection.close()


main()
