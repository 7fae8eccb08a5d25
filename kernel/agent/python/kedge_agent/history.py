"""IPython's history of a live kernel: what a restored cell must leave there as one that ran."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import groups

UNDER = "_"  # the name that a cell may take
_UNDERS = ("_", "__", "___")
RESULT = "Out"  # the name under which what a cell showed as its result is captured
_ABSENT = object()


class History:
    """The history of one shell. Used by the shell thread only."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._stale: tuple[int, Any] = (-1, _ABSENT)  # what a request outside the history left under a cell's number
        self._inputs: list[str] = []  # In and Out before the cell
        self._results: dict[Any, Any] = {}
        self._outside = -1  # the number under which requests outside the history have left a result
        self.taken = False  # whether a cell has bound _, which IPython leaves alone from then on
        self._unders: dict[str, tuple[Any, bool]] = {}  # before the cell: the value, and whether it is IPython's
        self.broken = ""  # why what it holds is not what a straight run would hold; "" if it is

    def count(self) -> int:
        """The number that the last cell had."""
        return int(self.shell.execution_count) - 1

    def begin(self) -> None:
        """A cell comes. Before IPython 9 a request outside the history leaves its result under that cell's number."""
        number = int(self.shell.execution_count)
        self._stale = number, self.shell.user_ns.get("_oh", {}).get(number, _ABSENT)
        self._outside = -1
        self._unders = {n: (self.shell.user_ns.get(n, _ABSENT), self._owns(n)) for n in _UNDERS}
        self._look()

    def _look(self) -> None:
        """What is there now the cell did not change."""
        self._inputs = list(self.shell.history_manager.input_hist_parsed)
        self._results = dict(self.shell.user_ns.get("_oh", {}))

    def _owns(self, name: str) -> bool:
        """Whether the next result goes under one of _UNDERS as far as that goes by its value, which has to be there."""
        ns = self.shell.user_ns
        return name in ns and self._has(name, ns[name])

    def _has(self, name: str, value: Any) -> bool:
        """Whether a value under one of _UNDERS is taken for IPython's own."""
        hook, hidden = self.shell.displayhook, self.shell.user_ns_hidden
        if name in hidden and "user_ns_hidden" in type(hook).update_user_ns.__code__.co_names:  # since IPython 9
            return hidden[name] is value
        return getattr(hook, name, _ABSENT) is value

    def past(self) -> list[str]:
        """Code has run that nobody watched. What it did to the names of results that later cells cannot be seen to
        depend on.
        """
        self.begin()
        there = [n for n in _UNDERS if n in self.shell.user_ns]
        self.taken = UNDER in there and not self._owns(UNDER)
        return [f"set {n}" for n in _UNDERS if n not in there or n != UNDER and not self._owns(n)]

    def under(self, binds: Iterable[str]) -> tuple[list[str], list[str]]:
        """(why what the cell did to _ cannot be done again, the same where later cells cannot be seen to depend on it).

        The cell's code binds these names. Says whether _ is taken from here on.
        """
        now, owns = self.shell.user_ns.get(UNDER, _ABSENT), self._owns(UNDER)
        was, owned = self._unders.get(UNDER, (now, owns))
        taken, hidden, refused = self.taken, self._others(), []
        self.taken = now is not _ABSENT and not owns and (taken or now is not was)
        if taken and owns:
            hidden.append("gave _ back to IPython")
        elif owned and now is _ABSENT:
            hidden.append("deleted _")
        elif UNDER in binds and not self.taken and now is not _ABSENT:
            refused.append("may have bound _ to what IPython has there")
        return refused, hidden

    def _others(self) -> list[str]:
        """Which of __ and ___ the cell has bound or deleted, for people."""
        found = []
        for name in _UNDERS[1:]:
            now = self.shell.user_ns.get(name, _ABSENT)
            was, _ = self._unders.get(name, (now, False))
            if now is not was and not self._owns(name):
                found.append(f"set {name}")
        return found

    def goes_on(self) -> None:
        """More comes before anybody looks. If no cell was counted, what came was outside the history.

        IPython 9 leaves the result of that under the number of the last cell.
        """
        if int(self.shell.execution_count) == self._stale[0]:
            self._outside = self._stale[0] - 1

    def changed(self) -> list[str]:
        """What the cell did to the history other than to enter itself, for people."""
        self.goes_on()
        inputs, results = self.shell.history_manager.input_hist_parsed, self.shell.user_ns.get("_oh", {})
        results = {n: v for n, v in results.items() if n != self._outside}
        kept = {n: v for n, v in self._results.items() if n not in (self._stale[0], self._outside)}
        last = max(self._stale[0], self.count())
        same = all(results.get(n, _ABSENT) is v for n, v in kept.items()) and all(
            type(n) is int and self._stale[0] <= n <= last for n in results.keys() - kept.keys())
        found = [] if inputs[:len(self._inputs)] == self._inputs else ["changed In"]
        return found if same else [*found, "changed Out"]

    def result(self) -> dict[str, Any]:
        """{RESULT: value} if the last cell showed one, else {}."""
        value = self.shell.user_ns.get("_oh", {}).get(self.count(), _ABSENT)
        stale = self._stale[0] == self.count() and self._stale[1] is value
        return {} if value is _ABSENT or stale else {RESULT: value}

    def others(self) -> dict[str, Any]:
        """The results of all cells but the last, by names that no variable has."""
        return {f"Out {n}": v for n, v in self.shell.user_ns.get("_oh", {}).items() if n != self.count()}

    def tied(self, names: Iterable[str], user: dict[str, Any], ns: dict[str, Any]) -> bool:
        """Whether the values of names share with earlier results that are no values of names."""
        held = {id(v) for v in user.values()}
        others = {n: v for n, v in self.others().items() if id(v) not in held}
        parts = groups.partition({**{n: user[n] for n in names}, **others}, ns) if others else None
        return parts is not None and any(not others.keys().isdisjoint(g) and not others.keys() >= set(g)
                                         for g in parts.groups)

    def enter(self, code: str, found: dict[str, Any]) -> int:
        """A cell with this code counts as run, with the result in found if there is one. Returns its number."""
        shell = self.shell
        number = int(shell.execution_count)
        shell.history_manager.store_inputs(number, shell.transform_cell(code), code)
        hook = shell.displayhook
        if RESULT in found:
            if hook.prompt_count != number:  # some versions of IPython count a cell before it runs, some after
                shell.execution_count = number + 1
            hook.update_user_ns(found[RESULT])
        shell.execution_count = number + 1
        return number

    def tell(self, number: int, code: str, found: dict[str, Any]) -> None:
        """Cell number, which was restored before anybody looked, counts as run too. settle comes after the last."""
        if self.broken:
            raise ValueError(self.broken)
        ns, manager = self.shell.user_ns, self.shell.history_manager
        parsed, raw = manager.input_hist_parsed, manager.input_hist_raw
        for inputs, text in ((parsed, self.shell.transform_cell(code)), (raw, code)):
            inputs.extend([""] * (number + 1 - len(inputs)))
            inputs[number] = text.rstrip("\n")
        self._put(f"_i{number}", code.rstrip("\n"))
        if RESULT in found:
            ns["_oh"][number] = found[RESULT]
            self._put(f"_{number}", found[RESULT])

    def settle(self, taken: int = 0) -> None:
        """Let the names of the last inputs and results be those of the cells told.

        From the cell with the number taken on, if that is not 0, a cell has had the name _.
        """
        ns, manager, hook = self.shell.user_ns, self.shell.history_manager, self.shell.displayhook
        last = ["", "", "", *manager.input_hist_raw[1:]][-3:]
        manager._i00, manager._i, manager._ii = reversed(last)
        results = sorted(ns["_oh"].items())
        ns["_oh"].clear()
        ns["_oh"].update(results)
        last = [ns["_oh"][n] for n in sorted(ns["_oh"])][-3:]
        seen = [ns["_oh"][n] for n in sorted(ns["_oh"]) if not taken or n < taken][-3:]
        for name, value, shown in zip(_UNDERS, reversed(["", "", "", *last][-3:]), reversed(["", "", "", *seen][-3:]),
                                      strict=True):
            if taken and name == UNDER:
                self.shell.user_ns_hidden[name] = shown
            elif taken or self._owns(name):
                self._put(name, shown)
            setattr(hook, name, value)
        self._look()

    def check(self, pairs: list[tuple[Any, Any]], lost: list[Any], ns: dict[str, Any]) -> None:
        """ValueError if a result holds the first of a pair, or a part of it, and is not it, or shares with one that is
        lost: it could not follow.
        """
        if not pairs and not lost:
            return
        changed = {id(old) for old, _ in pairs}
        table = {f"old {i}": old for i, old in enumerate([*(old for old, _ in pairs), *lost])}
        table.update((f"Out[{n}]", v) for n, v in self.shell.user_ns.get("_oh", {}).items() if id(v) not in changed)
        for names in groups.partition(table, ns).groups:
            held = [n for n in names if n.startswith("Out")]
            if held and len(held) < len(names):
                raise ValueError(f"{held[0]} shares with what the cell changes")

    def repoint(self, pairs: list[tuple[Any, Any]]) -> None:
        """Results that are the first of a pair become the second: what changed in place changed there too."""
        ns = self.shell.user_ns
        new = {id(old): value for old, value in pairs}
        for number, value in list(ns.get("_oh", {}).items()):
            if id(value) in new:
                ns["_oh"][number] = new[id(value)]
                self._put(f"_{number}", new[id(value)])
        hook, hidden = self.shell.displayhook, self.shell.user_ns_hidden
        for name in _UNDERS:
            owns, held = self._owns(name), getattr(hook, name, None)
            if id(held) in new:
                setattr(hook, name, new[id(held)])
            if owns and id(ns[name]) in new:
                self._put(name, new[id(ns[name])])
            elif id(hidden.get(name)) in new:
                hidden[name] = new[id(hidden[name])]

    def take(self, values: dict[str, Any]) -> None:
        """ValueError if _ is among values that are to be bound, and would be taken for IPython's own."""
        if UNDER in values and self._has(UNDER, values[UNDER]):
            raise ValueError("it binds _ to what was shown last")

    def _put(self, name: str, value: Any) -> None:
        """Bind a name of the history, which IPython tells from one of the user's by its value."""
        self.shell.push({name: value}, interactive=False)
