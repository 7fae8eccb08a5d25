"""Pandas' options, as differences from their defaults."""
import pickle
import sys

NAME = "pandas.options"


def _registered():
    config = getattr(sys.modules.get("pandas._config"), "config", None)
    return getattr(config, "_registered_options", None)


def capture() -> bytes:
    """The options that differ; empty while pandas is not loaded."""
    registered, pandas = _registered(), sys.modules.get("pandas")
    if registered is None or not hasattr(pandas, "get_option"):
        return b""
    root = sys.modules["pandas._config"].config._global_config
    changed = []
    for key in sorted(registered):
        value = root
        for part in key.split("."):
            value = value[part]
        if repr(value) != repr(registered[key].defval):
            changed.append((key, value))
    return pickle.dumps(changed, 5)


def restore(state: bytes) -> None:
    """Defaults, then the differences."""
    import pandas  # noqa: F401
    registered = _registered()
    root = sys.modules["pandas._config"].config._global_config
    changed = dict(pickle.loads(state))
    for key, option in registered.items():
        *path, last = key.split(".")
        place = root
        for part in path:
            place = place[part]
        value = changed.get(key, option.defval)
        if repr(place[last]) != repr(value):
            place[last] = value
            if option.cb is not None:
                option.cb(key)
