"""Work in a fork, whatever other threads do at that moment."""
import sys
import threading
import time
import warnings

import pytest

pytest.importorskip("IPython")
from kedge_agent import forked  # noqa: E402


@pytest.fixture
def busy():
    """Threads that always want the interpreter's lock."""
    stop = threading.Event()
    threads = [threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)]) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for t in threads:
        t.start()
    yield
    stop.set()
    for t in threads:
        t.join()
    sys.setswitchinterval(interval)


def test_a_fork_never_waits_for_another_thread(busy, monkeypatch):
    monkeypatch.setattr(forked, "PATIENCE", 1.0)  # a fork that waits ends the test with Died, soon
    for n in range(60):
        assert list(forked.run(lambda report, n=n: report({"n": n}))) == [{"n": n}]


def test_the_programs_filters_stay(busy):
    def work(report):
        report({"filters": repr(warnings.filters)})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = repr(warnings.filters)
        assert list(forked.run(work)) == [{"filters": before}]
        assert repr(warnings.filters) == before


def test_a_wait_for_the_processor_is_not_counted(monkeypatch):
    monkeypatch.setattr(forked, "PATIENCE", 0.2)
    monkeypatch.setattr(forked, "_waited", lambda _: time.monotonic())

    def work(report):
        time.sleep(1)
        report({"done": True})

    assert list(forked.run(work)) == [{"done": True}]
