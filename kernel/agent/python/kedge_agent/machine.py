"""What a cell asks of the machine that it runs on, where the preloaded library does not see it.

The library records calls of uname, of names of hosts and users, and of the clock's zone, by fact (observe/facts.go).
platform keeps the answer of uname, and what the number of processors is asked for by libraries is of no account
(docs/soundness.md); so calls of platform's functions are noted in their code, and words of the notebook count.
"""
from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from typing import Any

from . import noting
from .natives import _STDLIB

# Words in code that is reached, or in its strings, with the fact that they ask for.
_WORDS = {
    "processors": {"cpu_count", "process_cpu_count", "sched_getaffinity", "cpuinfo", "get_cpu_info", "nproc", "lscpu",
                   "cpu_freq", "show_config", "show_runtime", "__cpu_features__", "get_config_vars"},
    "zone": {"timezone", "altzone", "tzname", "daylight", "tzlocal", "get_localzone", "get_localzone_name"},
    "system": {"_uname_cache", "_platform_cache"},
}
# Packages that do nothing with what they ask while they are imported but choose how they get memory or name themselves.
_HARMLESS = {"numpy", "polars", "lightgbm"}

_unames: list[Any] = []  # calls of platform.uname and of what keeps its answer, since begin
_plain: list[Any] = []  # those of them that are for the name of the system or of the processor
_distribution: list[Any] = []
_TOLD = {"uname": _unames, "platform": _unames, "system": _plain, "machine": _plain,
         "freedesktop_os_release": _distribution}  # platform's functions, and where their calls are noted
_said: set[str] = set()  # facts that the cell's code asks for by its words
_kept: set[str] = set()  # facts that a module asked for while it was imported since begin, which it may keep
_noted: set[str] = set()  # modules whose functions are noted
_given: dict[str, Any] = {}  # platform's functions as they are with notes


class _Library:
    """The preloaded library's side, if it is there."""

    def __init__(self) -> None:
        process = ctypes.CDLL(None)
        self.pardon = getattr(process, "kedge_observe_pardon", None)
        self._quiet = getattr(process, "kedge_observe_quiet", None)
        self._asked = getattr(process, "kedge_observe_asked", None)
        if self.pardon is not None:
            self.pardon.restype = None
        if self._asked is not None:
            self._asked.restype = ctypes.c_ulong

    def quiet(self, on: int) -> int:
        """Whether what this thread asks is of no account from now on; returns whether it was."""
        return self._quiet(on) if self._quiet is not None else 0

    def asked(self) -> int:
        """How often this process has asked for anything so far."""
        return self._asked() if self._asked is not None else 0


_library = _Library()


def install() -> None:
    """Note what is asked from now on."""
    noting.note_forks(_unames.append)  # nothing notes what the child asks
    for name in AT_ONCE:
        if name in sys.modules:
            AT_ONCE[name]()


def _watch_platform() -> None:
    platform = sys.modules["platform"]
    if "platform" in _noted:
        return
    _noted.add("platform")
    platform.uname()  # so that its answer is kept: it asks no more
    for name, to in _TOLD.items():
        if noting.note(getattr(platform, name, None), to.append, "None"):
            _given[name] = getattr(platform, name)


def _watch_ctypes() -> None:
    if "ctypes.util" in _noted or _library.pardon is None:
        return
    _noted.add("ctypes.util")
    # It asks for the processor, to tell libraries of 32 bits from others, before it asks for anything else.
    noting.note(getattr(sys.modules["ctypes.util"], "_findSoname_ldconfig", None), _library.pardon, "1")


AT_ONCE = {"platform": _watch_platform, "ctypes.util": _watch_ctypes}


def begin(words: Iterable[str], everything: bool) -> None:
    """A cell comes, whose code has these words in it; everything: what it does is not known."""
    for noted in (_unames, _plain, _distribution, _kept):
        noted.clear()
    _said.clear()
    known = set(words)
    _said.update(fact for fact, asks in _WORDS.items() if everything or not asks.isdisjoint(known))
    if _library.pardon is not None:
        _library.pardon(0)


def _platform_asked() -> bool:
    """Whether platform was asked for more than the names of the system and of the processor."""
    platform = sys.modules.get("platform")
    if platform is None:
        return False
    told = all(getattr(platform, name, None) is _given.get(name) for name in ("uname", "platform", "system", "machine"))
    return not told or len(_unames) > len(_plain)


def asked() -> list[str]:
    """The facts that the cell asked for beyond those on record; "kept …" for what a module may keep."""
    facts = set(_said)
    if _platform_asked():
        facts.add("system")
    if _distribution:
        facts.add("/etc/os-release")
    return sorted(facts | {f"kept {fact}" for fact in _kept})


def enter(name: str, path: Any) -> tuple[int, int, bool]:
    """A module's own code begins. Returns what leave is to be told."""
    harmless = name.partition(".")[0] in _HARMLESS
    own = harmless or isinstance(path, str) and path.startswith(_STDLIB) and "-packages" + os.sep not in path
    return _library.quiet(int(harmless)), _count(), own


def leave(was: tuple[int, int, bool]) -> None:
    """It has ended: if it asked for anything, it may have kept the answer."""
    quiet, count, own = was
    _library.quiet(quiet)
    if not own and _count() != count:
        _kept.update(("system", "ids", "user"))


def _count() -> int:
    return _library.asked() + len(_unames) - len(_plain)
