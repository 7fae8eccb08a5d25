"""The place of what the notebook registered with IPython: callbacks, formatters, transformers, magics.

What extensions, backends and IPython itself register comes again with them and is left alone.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from .ipython_settings import formatters, known_formatters, shell

NAME = "IPython"
_LISTS: dict[str, list[Any]] = {}  # baseline of the lists
_TABLES: dict[str, dict[str, Any]] = {}  # baseline of the tables, by the text of their keys
_OTHERS = ("IPython", "ipykernel", "matplotlib_inline", "matplotlib", "traitlets", "ipywidgets", "kedge_agent")


def _lists() -> dict[str, list[Any]]:
    """The ordered registries, by what comes after the prefix."""
    ip = shell()
    if ip is None:
        return {}
    inputs = ip.input_transformer_manager
    return {
        **{f"event {name}": calls for name, calls in ip.events.callbacks.items()},
        "transformers cleanup": inputs.cleanup_transforms,
        "transformers line": inputs.line_transforms,
        "transformers token": inputs.token_transformers,
        "transformers post": ip.input_transformers_post,
        "transformers ast": ip.ast_transformers,
    }


def _tables(made: Callable[[], dict[str, Any]] = formatters) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The registries by key; made gives the formatters."""
    ip = shell()
    if ip is None:
        return
    for kind, table in ip.magics_manager.magics.items():
        yield f"magic {kind} ", table
    for mime, formatter in made().items():  # by class, and by name until it is imported
        yield f"formatter {mime} ", formatter.type_printers
        yield f"formatter {mime} ", formatter.deferred_printers


def start() -> None:
    """See places.Place."""
    _LISTS.update((k, list(v)) for k, v in _lists().items())
    for prefix, table in _tables(known_formatters):
        _TABLES.setdefault(prefix, {}).update((_text(k), v) for k, v in table.items())


def _module(value: Any) -> str:
    """The package of the function or object that was registered."""
    value = getattr(value, "func", value)  # of a partial
    own = getattr(value, "__self__", None)
    if own is not None and not isinstance(own, type):
        value = type(own)
    if not hasattr(value, "__qualname__"):
        value = type(value)
    return str(getattr(value, "__module__", ""))


def _left_alone(value: Any) -> bool:
    module = _module(value)
    loaded = shell().extension_manager.loaded
    return module.split(".")[0] in _OTHERS or any(module == e or module.startswith(e + ".") for e in loaded)


def entries() -> dict[str, Any]:
    """See places.Place: lists with numbers for what was there before; (class, function) for formatters."""
    if shell() is None:
        return {}
    found: dict[str, Any] = {}
    for key, values in _lists().items():
        was = _LISTS.get(key, [])
        if values != was:
            own = [_number(was, v) for v in values if not _left_alone(v) or any(v is old for old in was)]
            if own != list(range(len(was))):
                found[key] = own
    for prefix, table in _tables():
        base = _TABLES.get(prefix, {})
        for key, value in table.items():
            if base.get(_text(key)) is not value and not (_left_alone(value) and not _alias(value)):
                found[prefix + _text(key)] = _entry(key, value)
    return found


def _alias(value: Any) -> bool:
    """Whether a magic stands for another, or for a command of the shell."""
    return type(value).__name__ in ("MagicAlias", "Alias")


def _number(was: list[Any], value: Any) -> Any:
    return next((i for i, old in enumerate(was) if old is value), value)


def _text(key: Any) -> str:
    if isinstance(key, type):
        return f"{key.__module__}.{key.__name__}"
    return ".".join(key) if isinstance(key, tuple) else str(key)


def _entry(key: Any, value: Any) -> Any:
    if type(value).__name__ == "Alias":
        return "command", value.cmd
    if _alias(value):
        return "alias", value.magic_name, value.magic_params
    return (key, value) if isinstance(key, type) and key.__module__ == "__main__" else value


def _table(name: str) -> tuple[dict[Any, Any], str]:
    for prefix, table in _tables(lambda: shell().display_formatter.formatters):
        if name.startswith(prefix):
            return table, name[len(prefix):]
    raise ValueError(f"IPython has no {name}")


def bind(name: str, value: Any) -> None:
    """See places.Place."""
    lists = _lists()
    if name in lists:
        was = _LISTS.get(name, [])
        alone = [v for v in lists[name] if _left_alone(v) and not any(v is old for old in was)]
        lists[name][:] = [was[v] if isinstance(v, int) else v for v in value] + alone
        return
    table, key = _table(name)
    if name.startswith("formatter "):
        _set_formatter(name.split(" ")[1], key, value)
    elif isinstance(value, tuple) and value[0] == "command":
        shell().alias_manager.define_alias(key, value[1])
    elif isinstance(value, tuple):
        shell().magics_manager.register_alias(key, value[1], name.split(" ")[1], value[2])
    else:
        table[key] = value


def _set_formatter(mime: str, key: str, value: Any) -> None:
    formatter = shell().display_formatter.formatters[mime]
    module, _, name = key.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    if isinstance(value, tuple):
        cls, value = value
    for old in [t for t in formatter.type_printers if isinstance(t, type) and _text(t) == key]:
        del formatter.type_printers[old]
    if isinstance(cls, type):
        formatter.type_printers[cls] = value
    else:
        formatter.deferred_printers[module, name] = value


def unbind(name: str) -> None:
    """See places.Place."""
    if name in _lists():
        bind(name, list(range(len(_LISTS.get(name, [])))))
        return
    _, text = _table(name)
    prefix = name[:len(name) - len(text)]
    base = _TABLES.get(prefix, {})
    for table in (t for p, t in _tables() if p == prefix):
        for key in [k for k in table if _text(k) == text]:
            if text in base:
                table[key] = base[text]
            else:
                del table[key]
