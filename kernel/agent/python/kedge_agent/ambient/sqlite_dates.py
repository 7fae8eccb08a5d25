"""How pandas tells sqlite3 to write and read dates, from the first ``to_sql`` on."""
import sys
from typing import Any

NAME = "sqlite3.dates"
_PANDAS = "pandas.io.sql"
_OWN = ("sqlite3.dbapi2", "IPython.core.history")  # who else sets them, in every kernel


def others(table: dict[Any, Any]) -> set[Any]:
    """The keys of a table of sqlite3's adapters or converters that the program has set."""
    return {key for key, function in table.items() if _home(function) not in (*_OWN, _PANDAS)}


def _home(function: Any) -> Any:
    return getattr(function, "__module__", None)


def capture() -> bytes:
    """Not empty if pandas has told it."""
    dbapi = sys.modules.get("sqlite3")
    return b"pandas" if dbapi is not None and _PANDAS in map(_home, list(dbapi.adapters.values())) else b""


def restore(state: bytes) -> None:
    """Have pandas tell it; ValueError where that cannot be taken back, as sqlite3 forgets what it had before."""
    if state == capture():
        return
    if not state:
        raise ValueError("pandas has told sqlite3 how to write dates")
    from pandas.io.sql import SQLiteTable
    SQLiteTable._register_date_adapters(object.__new__(SQLiteTable))
