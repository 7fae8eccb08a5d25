"""What looking at a graph of networkx leaves in it is no part of it."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from kedge_agent import libraries, proof  # noqa: E402

nx = pytest.importorskip("networkx")


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph])
@pytest.mark.parametrize("look", [lambda g: g.degree, lambda g: g.nodes, lambda g: (g.edges, g.adj)])
def test_a_graph_that_was_looked_at_comes_back(kind, look):
    graph = kind([(1, 2), (2, 3)], title="t")
    fresh = libraries.reduce(graph)[2].keys()
    look(graph)
    made = libraries.reduce(graph)
    assert made[2].keys() == fresh
    back = made[0](*made[1])
    made[5](back, made[2])
    assert proof.equal(graph, back, {})
    assert dict(back.degree) == dict(graph.degree) and back.graph == graph.graph
