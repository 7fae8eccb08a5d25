"""What is asked of the machine past the preloaded library: by platform, by words, and by modules while imported."""
from __future__ import annotations

import ctypes.util
import pathlib
import platform
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kedge_agent import machine  # noqa: E402


@pytest.fixture(autouse=True)
def cell():
    machine.install()
    machine.begin((), False)


@pytest.mark.parametrize("ask", [platform.node, platform.release, platform.version, platform.platform, platform.uname])
def test_platform_is_asked_for_the_system(ask):
    assert ask() is not None
    assert machine.asked() == ["system"]


def test_the_names_of_system_and_processor_are_of_every_cell():
    platform.system()
    platform.machine()
    assert machine.asked() == []
    platform.node()
    assert machine.asked() == ["system"]


def test_a_patched_platform_is_not_trusted(monkeypatch):
    monkeypatch.setattr(platform, "uname", lambda: None)
    assert machine.asked() == ["system"]


def test_words_of_the_notebook_ask():
    machine.begin({"os", "cpu_count"}, False)
    assert machine.asked() == ["processors"]
    machine.begin({"time", "tzname"}, False)
    assert machine.asked() == ["zone"]
    machine.begin((), True)
    assert machine.asked() == ["processors", "system", "zone"]


def test_a_module_keeps_what_it_asks_while_it_is_imported():
    kept = ["kept ids", "kept system", "kept user"]
    outer = machine.enter("mine", "/somewhere/mine.py")
    inner = machine.enter("numpy", "/site-packages/numpy/__init__.py")
    machine.leave(inner)
    standard = machine.enter("socket", sys.modules["os"].__file__.replace("os.py", "socket.py"))
    machine.leave(standard)
    machine.leave(outer)
    assert machine.asked() == []
    outer = machine.enter("mine", "/somewhere/mine.py")
    platform.node()
    machine.leave(outer)
    assert machine.asked() == [*kept, "system"]


def test_looking_for_a_library_stays_what_it_was():
    assert ctypes.util._findSoname_ldconfig.__code__.co_name == "_findSoname_ldconfig"
    assert ctypes.util.find_library("no such library") is None
