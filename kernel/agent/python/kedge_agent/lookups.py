"""How a cell finds names past those in its code: by looking at frames, by compiling text, and by unpickling.

All raise audit events. A hook in the preloaded library passes them on; without it every cell is taken to do both.
"""
from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
from typing import Any

from . import environ

# Code that looks at frames for the name of a module or a file, a line number or its own caller, never for values;
# IPython's expands the text of magics, whose words are known before.
_HARMLESS = tuple(p.replace("/", os.sep) for p in (
    "/asyncio/events.py", "/asyncio/futures.py", "/asyncio/streams.py", "/collections/__init__.py", "/enum.py",
    "/gettext.py", "/logging/__init__.py", "/traceback.py", "/typing.py", "/warnings.py",
    "/IPython/core/interactiveshell.py", "/IPython/core/magic.py", "/attr/_make.py", "/click/decorators.py",
    "/dateutil/zoneinfo/__init__.py", "/ipywidgets/widgets/utils.py", "/jupyter_core/utils/__init__.py",
    "/matplotlib/_api/__init__.py", "/matplotlib/axes/_base.py", "/mpmath/libmp/backend.py", "/narwhals/_exceptions.py",
    "/narwhals/dependencies.py", "/networkx/lazy_imports.py", "/numpy/testing/_private/utils.py",
    "/pandas/util/_exceptions.py", "/plotly/io/_base_renderers.py", "/polars/_utils/various.py",
    "/polars/_warnings.py", "/psutil/_common.py", "/pyarrow/util.py", "/scipy/_lib/_bunch.py",
    "/traitlets/traitlets.py", "/typing_extensions.py"))


# Code that looks names up in frames by texts which it reads itself: any of them. Others that do so (queries of pandas,
# formulas of patsy, numexpr) compile the text, and its words are seen.
_READERS = ((os.path.join("numpy", "matrixlib", "defmatrix.py"), "bmat"),
            (os.path.join("polars", "_utils", "various.py"), "_get_stack_locals"))
# Code that writes methods and has them compiled: their text names their fields, and nothing of the notebook.
_STDLIB = os.path.dirname(os.__file__)
_MAKERS = (os.path.join(_STDLIB, "collections", "__init__.py"), os.path.join(_STDLIB, "dataclasses.py"),
           os.path.join(os.sep, "attr", "_make.py"), os.path.join(os.sep, "scipy", "_lib", "_bunch.py"))
_TEXT = 100_000  # characters; of a longer text that is compiled all names are taken to be looked up
_WORD = re.compile(r"\b[^\W\d]\w*")
_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")  # which reads modules that are imported
_QUERY = "__pd_eval_local_"  # what pandas makes of an @ before a name

_LOGGING = os.sep + os.path.join("logging", "__init__.py")

_SHOWN = ("lineno", "filename", "pathname", "module")  # fields of a record that say where the call stands


class Lookups:
    """What was looked up since the last begin; used by the shell thread, told by any."""

    def __init__(self, ns: dict[str, Any]) -> None:
        self._ns = ns
        self.frames = True
        self.everything = False  # whether any name may have been looked up
        self.classes: set[str] = set()  # names that were looked up, by unpickling and by compiling text
        self.placed = False  # whether a log record was shown with the place of the call
        self.heard = False  # whether the hook is in force
        self._known: set[str] = set()  # texts whose names are known before
        self._inside = False
        self._callback: Any = None

    def begin(self, known: set[str]) -> None:
        """A cell comes. It has IPython compile these texts, whose names are known as those of its code are."""
        self._known = known
        self.install()
        self.frames, self.classes, self.placed = not self.heard, set(), not self.heard
        self.everything = False

    def install(self) -> None:
        """Hear of events from here on. The first callback from C may keep a file open (libffi that of its own code)."""
        if self._callback is not None:
            return
        kind = ctypes.PYFUNCTYPE(None, ctypes.c_char_p, ctypes.py_object)
        self._callback = kind(self._told)
        process = ctypes.CDLL(None)
        hook, to = getattr(process, "kedge_audit", None), getattr(process, "kedge_audit_to", None)
        if hook is None or to is None:
            return
        to.argtypes, to.restype = [ctypes.c_void_p], None
        to(ctypes.cast(self._callback, ctypes.c_void_p))
        add = ctypes.pythonapi.PySys_AddAuditHook
        add.argtypes, add.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_int
        self.heard = add(ctypes.cast(hook, ctypes.c_void_p), None) == 0

    def _told(self, event: bytes, args: tuple[Any, ...]) -> None:
        if self._inside:
            return
        self._inside = True
        try:
            if event == b"pickle.find_class":
                module, name = args
                if module == "__main__":
                    self.classes.add(str(name).split(".")[0])
            elif event == b"compile":
                self._compiled(args[0])
            else:
                self.frames = self.frames or self._reads()
                self.everything = self.everything or _reader()
                self.placed = self.placed or _logs()
        except Exception:
            self.frames = True
        finally:
            self._inside = False

    def _compiled(self, text: Any) -> None:
        """Code of the notebook compiles text, or has it compiled, perhaps to look up what stands in it."""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        if not isinstance(text, str) or text in self._known:
            return  # a tree was a text before
        frame: Any = sys._getframe(2)
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename.endswith(_MAKERS):
            return  # the former compiles a module that has not been compiled before
        while frame is not None and frame.f_globals is not self._ns:
            if frame.f_code.co_filename.startswith(_OURS):
                return
            frame = frame.f_back
        if frame is not None and len(text) > _TEXT:
            self.everything = True
        elif frame is not None:
            self.classes.update(word.removeprefix(_QUERY) for word in _WORD.findall(text))

    def _reads(self) -> bool:
        """Whether whoever asks for a frame now may read names of the notebook: from there its code is on the stack."""
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.endswith(os.sep + "inspect.py"):
            frame = frame.f_back  # it only passes frames on
        if frame is None or frame.f_code.co_filename.endswith(_HARMLESS) or frame.f_globals is vars(environ):
            return False  # ours asks whether a variable of the environment is looked up
        while frame is not None and frame.f_globals is not self._ns:
            frame = frame.f_back
        return frame is not None


def _reader() -> bool:
    """Whether code looks at frames that takes names from texts which it does not compile."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith(os.sep + "inspect.py"):
        frame = frame.f_back
    return frame is not None and any(
        frame.f_code.co_filename.endswith(os.sep + file) and frame.f_code.co_name == name for file, name in _READERS)


def _logs() -> bool:
    """Whether the frame is asked for by logging, and some handler shows the place of calls."""
    if not sys._getframe(2).f_code.co_filename.endswith(_LOGGING):
        return False
    handlers = [ref() for ref in logging._handlerList]  # type: ignore[attr-defined]
    formats = (getattr(getattr(h, "formatter", None), "_fmt", None) for h in handlers)
    return any(type(f) is str and any(word in f for word in _SHOWN) for f in formats)
