"""Process state that is watched but not restored: a cell that changes it is not cached."""
from __future__ import annotations

import contextvars
import copyreg
import itertools
import logging
import signal
import sys
import warnings
from typing import Any

from .. import figures
from . import logs

NAME = "process"
_looks = itertools.count()


def describe() -> dict[str, Any]:
    """What is watched, by the name under which people know it; equal in every process that did the same."""
    return {
        "the logging handlers": [(type(h).__qualname__, h.level) for h in logging.root.handlers if not logs.plain(h)],
        "the hooks of sys": [_name(h) for h in (sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile(),
                                                sys.unraisablehook)],
        "the standard streams": [_name(type(s)) for s in (sys.stdin, sys.stdout, sys.stderr)],
        "signal handlers": [_name(signal.getsignal(s)) for s in sorted(signal.valid_signals())
                            if s not in (signal.SIGINT, signal.SIGCHLD)],
        "warnings.showwarning": _name(warnings.showwarning),
        "copyreg": sorted(_name(c) for c, f in copyreg.dispatch_table.items()
                          if "__main__" in (c.__module__, getattr(f, "__module__", ""))),
        "context variables": sorted(v.name for v in contextvars.copy_context() if not _known(v)),
        "open figures": _pyplot(),
        **_loaded(),
        **_shell(),
    }


def capture() -> bytes:
    """describe, in bytes."""
    return repr(sorted(describe().items())).encode("utf-8", "surrogatepass")


def restore(state: bytes) -> None:
    """Nothing to do if it is as it was; an error otherwise."""
    if capture() != state:
        raise ValueError("this process state cannot be restored")


def _name(obj: Any) -> str:
    return getattr(obj, "__qualname__", None) or (str(obj) if isinstance(obj, int) else type(obj).__qualname__)


def _known(variable: contextvars.ContextVar[Any]) -> bool:
    """Whether a context variable is of the kernel's own machinery, or of a library's."""
    return "." in variable.name or variable.name.startswith("_") or variable.name in (
        "decimal_context", "format_options", "numpy_extobj", "numpy.errstate", "parent_header", "shell_parent",
        "execution_count")


def _pyplot() -> object:
    """The open figures; they can be drawn on by code that names none, so no two looks are equal."""
    numbers = figures.open_numbers()
    return (numbers, next(_looks)) if numbers else ()


def _loaded() -> dict[str, Any]:
    """Registries of modules of the standard library that are loaded."""
    found: dict[str, Any] = {}
    if "csv" in sys.modules:
        found["csv dialects"] = sorted(sys.modules["csv"].list_dialects())
    if "sqlite3" in sys.modules:
        dbapi = sys.modules["sqlite3"]
        found["sqlite3 adapters"] = (sorted(f"{k[0].__qualname__}" for k in dbapi.adapters), sorted(dbapi.converters))
    if "mimetypes" in sys.modules and sys.modules["mimetypes"].inited:
        found["mimetypes"] = sorted(sys.modules["mimetypes"].types_map.items())
    return {k: v for k, v in found.items() if v and v != (["date", "datetime"], ["date", "timestamp"])}


def _shell() -> dict[str, Any]:
    """What the notebook has set on IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return {}
    events = {k: [_name(f) for f in v if not str(getattr(f, "__module__", "")).startswith("matplotlib_inline")]
              for k, v in sorted(shell.events.callbacks.items())}
    magics = sorted(f"{kind}{n}" for kind, table in shell.magics_manager.magics.items() for n, f in table.items()
                    if getattr(f, "__module__", "") == "__main__" or type(f).__qualname__ == "MagicAlias")
    return {
        "IPython extensions": sorted(shell.extension_manager.loaded),
        "IPython callbacks": events,
        "IPython settings": (shell.ast_node_interactivity, shell.autocall, len(shell.ast_transformers),
                             len(shell.input_transformers_post),
                             len(shell.input_transformer_manager.cleanup_transforms),
                             len(shell.input_transformer_manager.line_transforms)),
        "IPython magics": magics,
        "IPython formatters": sorted(f"{mime} {t.__module__}.{t.__qualname__}"
                                     for mime, f in shell.display_formatter.formatters.items()
                                     for t, call in f.type_printers.items()
                                     if getattr(call, "__module__", "") == "__main__" or t.__module__ == "__main__"),
        "IPython display settings": repr([(m, getattr(f, "float_format", ""), getattr(f, "pprint", ""),
                                           getattr(f, "max_width", ""))
                                          for m, f in sorted(shell.display_formatter.formatters.items())
                                          if m == "text/plain"]),
    }
