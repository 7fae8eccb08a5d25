"""The places of options whose values are objects of the notebook: those of pandas, numpy and plotly."""
from __future__ import annotations

import importlib
import sys
from typing import Any

from . import numpy_options, pandas_options, plotly_defaults


class Pandas:
    """Options that are functions (``display.float_format``)."""

    NAME = "pandas"

    def start(self) -> None:
        """See places.Place."""

    def entries(self) -> dict[str, Any]:
        """See places.Place."""
        return {f"option {k}": v for k, v in pandas_options.changed().items() if callable(v)}

    def bind(self, name: str, value: Any) -> None:
        """See places.Place."""
        import pandas  # noqa: F401
        pandas_options.put(name.removeprefix("option "), value)

    def unbind(self, name: str) -> None:
        """See places.Place."""
        key = name.removeprefix("option ")
        pandas_options.put(key, pandas_options.default(key))


class Numpy:
    """The functions of ``np.set_printoptions(formatter=…)``, and what ``np.seterrcall`` was given."""

    NAME = "numpy"

    def start(self) -> None:
        """See places.Place."""

    def entries(self) -> dict[str, Any]:
        """See places.Place."""
        value, numpy = numpy_options.formatter(), sys.modules.get("numpy")
        found = {"print formatter": value} if value else {}
        called = numpy.geterrcall() if hasattr(numpy, "geterrcall") else None
        return found if called is None else {**found, "error callback": called}

    def bind(self, name: str, value: Any) -> None:
        """See places.Place."""
        if name == "error callback":
            importlib.import_module("numpy").seterrcall(value)
        else:
            numpy_options.set_formatter(value)

    def unbind(self, name: str) -> None:
        """See places.Place."""
        self.bind(name, None)


class Plotly:
    """Templates that the notebook registered, and one that is the default without a name."""

    NAME = "plotly"
    _OWN = ("ggplot2", "seaborn", "simple_white", "plotly", "plotly_white", "plotly_dark", "presentation", "xgridoff",
            "ygridoff", "gridon", "none")

    def start(self) -> None:
        """See places.Place."""

    def entries(self) -> dict[str, Any]:
        """See places.Place."""
        held = plotly_defaults.templates()
        if held is None:
            return {}
        found = {f"template {n}": t for n, t in held._templates.items() if n not in self._OWN}
        if not isinstance(held._default, (str, type(None))):
            found["default template"] = held._default
        return found

    def bind(self, name: str, value: Any) -> None:
        """See places.Place."""
        import plotly.io
        if name == "default template":
            plotly.io.templates._default = value
        else:
            plotly.io.templates._templates[name.removeprefix("template ")] = value

    def unbind(self, name: str) -> None:
        """See places.Place."""
        held = plotly_defaults.templates()
        if name == "default template":
            held._default = "plotly"
        else:
            held._templates.pop(name.removeprefix("template "), None)
