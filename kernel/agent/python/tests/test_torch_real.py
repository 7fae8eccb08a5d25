"""Torch itself, where it is installed: it is gigabytes, and in no requirements."""
import pytest
from shells import round_trip, shell  # noqa: F401

pytest.importorskip("torch", reason="torch is gigabytes and not installed here")

IMPORT = "import torch"


def captured(make, code):
    """(names with a reason, names captured) of one cell after the import."""
    one = make()
    one.cell(IMPORT)
    _, after = one.cell(code)
    return ({u["name"]: u["reason"] for u in after["uncaptured"]}, {n for g in after["groups"] for n in g["names"]},
            after["refused"])


def test_a_model_in_training_goes_on_where_it_was(shell):  # noqa: F811
    round_trip(shell, [IMPORT, """
torch.manual_seed(1)
m = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(.5), torch.nn.Linear(3, 1))
o = torch.optim.Adam(m.parameters(), lr=.1)
s = torch.optim.lr_scheduler.StepLR(o, 2)
for _ in range(3):
    o.zero_grad(); m(torch.randn(2, 4)).sum().backward(); o.step(); s.step()
""", "w = m[0].weight"], """(
    [(o.zero_grad(), m(torch.randn(2, 4)).sum().backward(), o.step(), s.step())[0] for _ in range(2)] and None,
    [p.tolist() for p in m.parameters()], w is m[0].weight, o.param_groups[0]["params"][0] is w, s.get_last_lr(),
    torch.rand(2).tolist()) if "m" in globals() else None""".replace("\n", " "))


def test_arrays_and_tensors_share_memory_again(shell):  # noqa: F811
    round_trip(shell, [IMPORT, "import numpy as np; a = np.zeros(9000); t = torch.from_numpy(a[100:])",
                       "u = torch.zeros(9000); b = u.numpy()"],
               "'t' in globals() and (t.fill_(2) is t, a[99:102].tolist(), u.fill_(3) is u, b[0].item())")


def test_a_graph_is_refused_by_its_path(shell):  # noqa: F811
    lost, kept, _ = captured(shell, "w = torch.ones(3, requires_grad=True); d = {'loss': [(w * 2).sum()]}")
    assert "d['loss'][0]" in lost["d"] and "SumBackward0" in lost["d"] and "w" in kept


def test_what_is_registered_with_torch_is_not_cached(shell):  # noqa: F811
    refused = captured(shell, "h = torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: None)")[2]
    assert any("_global_forward_hooks" in r for r in refused), refused


def test_capture_after_threads_of_torch_ran_does_not_hang(shell):  # noqa: F811
    lost, kept, _ = captured(shell, "torch.set_num_threads(2); a = torch.randn(600, 600); b = (a @ a).exp().sum(0)")
    assert lost == {} and {"a", "b"} <= kept
