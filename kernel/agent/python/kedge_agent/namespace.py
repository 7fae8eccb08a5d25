"""Which names of the user's namespace are the user's."""
from __future__ import annotations

import re
from typing import Any

_HISTORY = re.compile(r"_+|_i+|_i?\d+|_[dio]h|In|Out|get_ipython|exit|quit|open|__\w+__")


def user_names(ns: dict[str, Any], hidden: dict[str, Any]) -> dict[str, Any]:
    """The name → object table without what IPython itself put there."""
    return {
        k: v for k, v in list(ns.items())
        if isinstance(k, str) and not _HISTORY.fullmatch(k)
        and not (k in hidden and hidden[k] is v)
    }
