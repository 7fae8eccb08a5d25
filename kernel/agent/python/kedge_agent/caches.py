"""functools' caches and dispatchers, which live in closures and in C."""
from __future__ import annotations

import functools
import gc
import types
from typing import Any

from .refused import Uncapturable

_MOST = 100_000  # calls that are made again to bring a cache's counters back


class Volatile:
    """Stands for a value that is saved and brought back but says nothing about what a variable is."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return volatile, (self.value,)


def volatile(value: Any) -> Any:
    """value; the digest of a stream leaves out the arguments of this function."""
    return value


class Primed:
    """The function of a restored cache: while the cache is filled it gives the recorded results."""

    __slots__ = ("_func", "_results", "__weakref__")

    def __init__(self, func: Any) -> None:
        self._func, self._results = func, None

    def prime(self, results: Any) -> None:
        """Give these, or raise where there is none; None to call the function again."""
        self._results = results

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._results is None:
            return self._func(*args, **kwargs)
        return next(self._results)


def reduce_lru(cached: Any) -> tuple[Any, ...]:
    """A function with its cache: entries from the oldest to the newest, and the counters."""
    info, options = cached.cache_info(), cached.cache_parameters()
    if info.hits + info.misses > _MOST:
        raise Uncapturable(f"is a cache with more than {_MOST} calls")
    entries = [(*_arguments(key, options["typed"]), value) for key, value in _entries(cached, info.currsize)]
    state = (entries, Volatile((info.hits, info.misses)),
             {k: v for k, v in vars(cached).items() if k != "cache_parameters"})
    return make_lru, (cached.__wrapped__, options["maxsize"], options["typed"]), state, None, None, set_lru


@functools.lru_cache(2)
def _probe(*_: Any, **__: Any) -> None:
    return None


def _marks() -> tuple[type, Any]:
    """(the type of the entries of a bounded cache, what stands between positional and keyword arguments)."""
    _probe.cache_clear()
    _probe(1, a=2)
    key, entry = next(iter(next(x for x in gc.get_referents(_probe) if type(x) is dict).items()))
    return type(entry), key[1]


_ENTRY, _MARK = _marks()


def _entries(cached: Any, size: int) -> list[tuple[Any, Any]]:
    """(key, value) of each entry, the oldest first."""
    if not size:
        return []
    held = [x for x in gc.get_referents(cached) if x is not type(cached) and x is not _ENTRY]
    if cached.cache_parameters()["maxsize"] is None:
        return list(held[0].items())
    return list(zip(held[:2 * size:2], held[1:2 * size:2], strict=True))


def _arguments(key: Any, typed: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call by its key, as functools makes keys."""
    if typed:
        raise Uncapturable("is a typed cache with entries")
    if type(key) is not tuple:
        return (key,), {}
    at = next((i for i, x in enumerate(key) if x is _MARK), len(key))
    return key[:at], dict(zip(key[at + 1::2], key[at + 2::2], strict=True))


def make_lru(func: Any, size: Any, typed: bool) -> Any:
    """A cached function with nothing in its cache."""
    return functools.lru_cache(size, typed)(Primed(func))


def set_lru(cached: Any, state: tuple[Any, ...]) -> None:
    """Fill a cache made by make_lru."""
    entries, (hits, misses), attributes = state
    primed = next(x for x in gc.get_referents(cached) if type(x) is Primed)
    for key in vars(cached).keys() - {"cache_parameters"}:
        del vars(cached)[key]
    vars(cached).update(attributes)
    primed.prime(iter(()))
    for _ in range(misses - len(entries)):
        try:
            cached()
        except StopIteration:
            continue
    primed.prime(iter([value for _, _, value in entries]))
    for args, kwargs, _ in entries:
        cached(*args, **kwargs)
    for _ in range(hits):
        cached(*entries[-1][0], **entries[-1][1])
    primed.prime(None)


def is_dispatcher(func: types.FunctionType) -> bool:
    """Whether func was made by functools.singledispatch."""
    return func.__globals__ is vars(functools) and func.__code__.co_name == "wrapper" and hasattr(func, "registry")


def reduce_dispatcher(func: Any) -> tuple[Any, ...]:
    """A single-dispatch function by what is registered, in order."""
    entries = list(func.registry.items())
    own = {k: v for k, v in vars(func).items()
           if k not in ("registry", "register", "dispatch", "_clear_cache", "__wrapped__")}
    return make_dispatcher, (func.__wrapped__,), (entries, own), None, None, set_dispatcher


def make_dispatcher(func: Any) -> Any:
    """A single-dispatch function with nothing but its default."""
    return functools.singledispatch(func)


def set_dispatcher(func: Any, state: tuple[Any, ...]) -> None:
    """Register again."""
    for cls, implementation in state[0]:
        func.register(cls, implementation)
    vars(func).update(state[1])
