"""Which streams a cell seeds before it can draw."""
import ast
import pathlib
import sys

import pytest
from shells import shell  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import streams  # noqa: E402


@pytest.mark.parametrize("code,found", [
    ("random.seed(1)", {"random"}),
    ("import numpy as np, random\nSEED = 3\nrandom.seed(SEED)\nnp.random.seed(SEED); x = np.random.rand()",
     {"random", "numpy.random"}),
    ("'about'\nimport torch\ntorch.manual_seed(0)", {"torch.random"}),
    ("from numpy import random as r\nr.seed(2)", {"numpy.random"}),
    ("x = random.random()\nrandom.seed(1)", set()),
    ("random.seed()", set()),
    ("import helper\nrandom.seed(1)", set()),
    ("random.seed(f())", set()),
    ("if x:\n    random.seed(1)", set()),
    ("x.seed(1)", set())])
def test_seeded(code, found):
    assert streams.seeded(ast.parse(code)) == found


def test_a_seeded_stream_is_not_observed_and_always_left(shell):  # noqa: F811
    one = shell()
    one.cell("import random\nrandom.seed(1)")
    before, after = one.cell("random.seed(1)")
    assert "random" not in before["ambient"] and "random" in [a["name"] for a in after["ambient"]]
    before, after = one.cell("x = random.random()")
    assert "random" in before["ambient"] and "random" in [a["name"] for a in after["ambient"]]
    before, after = one.cell("y = 1")
    assert "random" not in [a["name"] for a in after["ambient"]]
