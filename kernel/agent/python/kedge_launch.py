"""Start ipykernel as ``python -m ipykernel_launcher`` does, with the agent beside it.

Usage: ``python kedge_launch.py -f CONNECTION_FILE``. The program sees the argv,
``sys.path`` and namespace of a plain kernel; only ``sys.modules`` knows more.
"""
import contextlib
import os
import sys
from collections.abc import Iterator


def _load_agent(folder: str) -> tuple[object, object]:
    """Import kedge_agent from folder without leaving folder in ``sys.path``."""
    sys.path.insert(0, folder)
    try:
        import kedge_agent.handlers as handlers
        import kedge_agent.spare as spare
        return handlers, spare
    finally:
        sys.path.remove(folder)


@contextlib.contextmanager
def _kept(app: type) -> Iterator[None]:
    """A kernel made meanwhile drops nothing of what it publishes. The system's buffer between it and us is small."""
    import zmq
    bind = getattr(app, "_bind_socket", None)

    def unlimited(self: object, socket: zmq.Socket, port: int) -> object:
        if socket.type in (zmq.PUB, zmq.XPUB):
            socket.sndhwm = 0
        return bind(self, socket, port)

    if bind is None:
        yield
        return
    app._bind_socket = unlimited
    try:
        yield
    finally:
        app._bind_socket = bind


def main() -> None:
    """Run the kernel until it is shut down."""
    folder = os.path.dirname(os.path.abspath(__file__))
    # `python -m` puts the working folder first; `python FILE` the folder of FILE.
    if sys.path and os.path.abspath(sys.path[0] or ".") == folder:
        del sys.path[0]
    for name in filter(None, os.environ.pop("KEDGE_HIDE", "").split(",")):
        os.environ.pop(name, None)
    waits = os.environ.pop("KEDGE_SPARE", "")
    handlers, spare = _load_agent(folder)
    sys.path.insert(0, os.getcwd())
    spec = __import__("importlib.util", fromlist=["util"]).find_spec("ipykernel_launcher")
    if spec is not None and spec.origin:
        sys.argv[0] = spec.origin
    # ipykernel_launcher drops the working folder while it starts; IPython puts '' back.
    if sys.path[0] == os.getcwd():
        del sys.path[0]
    from ipykernel import kernelapp

    if waits:
        spare.wait()  # type: ignore[attr-defined]
    plain = kernelapp.IPKernelApp.initialize

    def initialize(self: object, argv: object = None) -> object:
        kernelapp.IPKernelApp.initialize = plain
        with _kept(kernelapp.IPKernelApp):
            result = plain(self, argv)
        try:
            handlers.register(self.kernel).begin()  # type: ignore[attr-defined]
            spare.register(self.kernel)  # type: ignore[attr-defined]
        except Exception as err:  # the kernel must work without us
            print(f"kedge: agent not registered: {err}", file=sys.__stderr__)
        return result

    kernelapp.IPKernelApp.initialize = initialize
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
