"""The adapters of torch, on a stand-in with the part of its interface that they use: torch itself is gigabytes."""
from shells import round_trip, shell  # noqa: F401

STAND_IN = """
import numpy
_state, _held = numpy.zeros(8, "u1"), {"dtype": "float32", "grad": True, "threads": 4}
uint8 = "u1"
class dtype:
    def __init__(self, name): self.name = name
    def __repr__(self): return "torch." + self.name
float32, float64 = dtype("float32"), dtype("float64")
class Tensor:
    def __init__(self, a): self.a = a
    def numpy(self): return self.a
def get_rng_state(): return Tensor(_state.copy())
def set_rng_state(t): _state[:] = t.a
def frombuffer(data, dtype): return Tensor(numpy.frombuffer(data, dtype))
def manual_seed(n): _state[0] = n
def rand():
    _state[0] += 1
    return int(_state[0])
def get_default_dtype(): return globals()[_held["dtype"]]
def set_default_dtype(d): _held["dtype"] = d.name
def is_grad_enabled(): return _held["grad"]
def set_grad_enabled(on): _held["grad"] = on
def get_num_threads(): return _held["threads"]
def set_num_threads(n): _held["threads"] = n
"""
IMPORT = "import sys; sys.path.insert(0, 'site-packages')\nimport torch"


def put(folder):
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "torch.py").write_text(STAND_IN)


def test_a_cell_that_asks_for_the_seed_observes_the_stream(shell, tmp_path):  # noqa: F811
    put(tmp_path)
    one = shell()
    one.cell(IMPORT)
    _, asks = one.cell("x = torch.get_rng_state()")
    _, draws_none = one.cell("x = 1")
    assert "torch.random" in asks["reached"] and "torch.random" not in draws_none["reached"]


def test_defaults(shell, tmp_path):  # noqa: F811
    put(tmp_path)
    round_trip(shell, [IMPORT, "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)"],
               "(torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())")


def test_the_stream_goes_on(shell, tmp_path):  # noqa: F811
    put(tmp_path)
    first, other = shell(), shell()
    first.cell(IMPORT)
    before, after = first.cell("torch.manual_seed(7); torch.rand()")
    assert "torch.random" not in before["ambient"] and "torch.random" in [a["name"] for a in after["ambient"]]
    other.restore(first)
    assert other.run("", "torch.rand()") == first.run("", "torch.rand()") == "9"
