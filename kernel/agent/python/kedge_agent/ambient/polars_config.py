"""Polars' settings (``pl.Config``)."""
import json
import sys

NAME = "polars.config"  # restored after the environment, which holds a part of them
_DEFAULTS = {"set_fmt_float": "mixed", "set_float_precision": None, "set_thousands_separator": "",
             "set_decimal_separator": ".", "set_trim_decimal_zeros": False}


def capture() -> bytes:
    """Those that are set; empty while polars is not loaded."""
    polars = sys.modules.get("polars")
    if not hasattr(polars, "Config"):
        return b""
    saved = json.loads(polars.Config.save())
    set_ = {"environment": {k: v for k, v in saved["environment"].items() if v is not None},
            "direct": {k: v for k, v in saved["direct"].items() if v != _DEFAULTS.get(k)}}
    return json.dumps(set_, sort_keys=True).encode() if any(set_.values()) else b""


def restore(state: bytes) -> None:
    """Defaults, then what is set."""
    import polars
    polars.Config.restore_defaults()
    if state:
        polars.Config.load(state.decode())
