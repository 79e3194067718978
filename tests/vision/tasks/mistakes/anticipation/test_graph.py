"""Task graphs: their weights, their learning, their tidying."""

import networkx as nx
import torch

from vision.tasks.mistakes.anticipation.graph import (
    END,
    START,
    adjacency,
    check_preconditions,
    graph_loss,
    learn_graph,
    tidy,
)
from vision.tasks.mistakes.procedure import Procedure


def test_rows_are_distributions_over_what_may_come_before():
    weights = adjacency(torch.randn(8, 8))
    assert torch.allclose(weights[1:].sum(1), torch.ones(7))
    assert not weights.diagonal().any()
    assert weights[0].sum() == 0
    assert weights[1, 0] == 1
    assert weights[-1, -2] == 1
    assert not weights[:-1, -2:].any()


def test_the_loss_is_lower_for_the_right_graph():
    """A chain explains a chain better than its reverse does."""
    execution = [[0, 1, 2, 3, 4, 5, 6]]
    right, wrong = torch.zeros(7, 7), torch.zeros(7, 7)
    for step, before in ((2, 1), (3, 2), (4, 3), (5, 4)):
        right[step, before] = 5
        wrong[before, step] = 5
    assert graph_loss(adjacency(right), execution) < graph_loss(adjacency(wrong), execution)


def test_an_order_is_learnt():
    """a before b and c, which are done in any order, and d last."""
    procedure = Procedure(name="x", examples=[["a", "b", "c", "d"], ["a", "c", "b", "d"]] * 3)
    needed = learn_graph(procedure, epochs=300)
    assert needed["b"] == ("a",)
    assert needed["c"] == ("a",)
    assert needed["d"]
    assert set(needed["d"]) <= {"b", "c"}
    assert needed["a"] == (START,)
    assert "d" in needed[END]


def test_repeated_steps_can_be_learnt():
    procedure = Procedure(name="x", examples=[["a", "b", "a", "c"], ["a", "b", "c"]])
    assert set(learn_graph(procedure, epochs=50)) == {"a", "b", "c", END}


def test_tidying_leaves_no_cycle_and_no_orphan():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        needed = tidy(torch.rand(8, 8, generator=generator), list("abcdef"))
        graph = nx.DiGraph([(b, step) for step, before in needed.items() for b in before])
        assert nx.is_directed_acyclic_graph(graph)
        assert nx.descendants(graph, START) == {*"abcdef", END}


def test_an_undefined_step_does_not_count_as_done():
    needed = {"a": [START], "b": ["a"], "c": ["x"]}
    checked = check_preconditions(needed, ["x", "c", "b", "a", "b"])
    assert [c.flagged for c in checked] == [True, True, True, False, False]
    assert checked[0].preconditions is None
    assert checked[1].missing == ("x",)
