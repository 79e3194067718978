"""Task graphs: which step is a precondition of which, learnt from correct executions.

Task graph maximum likelihood by direct optimisation (Seminara et al., NeurIPS 2024), and the check
of steps against a graph.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import torch
from torch import Tensor

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.procedure import Procedure

START, END = "START", "END"

EPSILON = 1e-6
BETA = 0.005

Nodes = Sequence[int]
"""An execution as node ids: 0 begins, 1 is START, then steps from 2, n + 2 is END, n + 3 ends."""


@dataclass(frozen=True)
class Checked:
    """A step held against a graph.

    Args:
        flagged: whether a precondition is missing, or none is defined.
        missing: preconditions that were not met.
        preconditions: all of them; None where the graph defines none.
    """

    flagged: bool
    missing: tuple[str, ...]
    preconditions: tuple[str, ...] | None


def check_preconditions(
    preconditions: Mapping[str, Sequence[str]], steps: Sequence[str]
) -> list[Checked]:
    """Check the steps of an execution in order.

    A step without preconditions in the graph is flagged and does not count as done; one whose
    preconditions are missing is flagged and counts.

    Args:
        preconditions: of each step; those that need nothing have `START`.
        steps: the execution.
    """
    past = {START}
    checked = []
    for step in steps:
        checked.append(_check(preconditions, past, step))
        if preconditions.get(step):
            past.add(step)
    return checked


def _check(preconditions: Mapping[str, Sequence[str]], past: set[str], step: str) -> Checked:
    needed = tuple(preconditions.get(step, ()))
    missing = tuple(sorted(set(needed) - past))
    return Checked(not needed or bool(missing), missing, needed or None)


def adjacency(logits: Tensor) -> Tensor:
    """Weights of edges from the logits of a graph of n steps.

    Args:
        logits: (n + 4, n + 4), `[i, j]` for "j is a precondition of i".

    Returns:
        (n + 4, n + 4), rows that sum to 1 over what may come before; row 0 is zero. Nothing is its
        own precondition, START follows only the beginning, and END is one of the last node only.
    """
    size = len(logits)
    allowed = ~torch.eye(size, dtype=torch.bool, device=logits.device)
    allowed[:, -2:] = False
    allowed[1] = torch.arange(size, device=logits.device) == 0
    allowed[-1] = torch.arange(size, device=logits.device) == size - 2
    rows = logits[1:].masked_fill(~allowed[1:], -torch.inf).softmax(1)
    return torch.cat([torch.zeros_like(logits[:1]), rows])


def graph_loss(weights: Tensor, executions: Sequence[Nodes], beta: float = BETA) -> Tensor:
    """Negative log likelihood of executions, summed (TGML).

    At each position before the last: minus the log of the edges from the current node to those
    done, plus `beta` times the log of the edges from all nodes not yet done.

    Args:
        weights: (N, N) from `adjacency`.
        executions: node ids from 0 to N - 1, each once.
        beta: of the contrast.
    """
    return _loss(weights, *_positions(executions, len(weights)), beta)


def _positions(executions: Sequence[Nodes], size: int) -> tuple[Tensor, Tensor]:
    """(P,) node at each position and (P, N) whether a node was done before it."""
    current, done = [], []
    for nodes in executions:
        for place in range(1, len(nodes) - 1):
            current.append(nodes[place])
            row = torch.zeros(size)
            row[list(nodes[:place])] = 1
            done.append(row)
    return torch.tensor(current), torch.stack(done)


def _loss(weights: Tensor, current: Tensor, done: Tensor, beta: float) -> Tensor:
    weights, done = weights + EPSILON, done.to(weights)
    todo = 1 - done
    todo[:, -1] = 0  # the ending node leads nowhere but to END
    chosen = (weights[current] * done).sum(1)
    possible = ((todo @ weights) * done).sum(1)
    return (beta * possible.log() - chosen.log()).sum()


def learn_graph(
    procedure: Procedure, *, epochs: int = 1200, lr: float = 0.1, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Preconditions of each step by direct optimisation of a graph.

    Steps that occur more than once count where they are first or, half the time, last.

    Args:
        procedure: the examples; steps that none has are left out of the graph.
        epochs: of Adam over all examples at once.
        lr: its rate.
        seed: of the beginning and of where repeated steps are put.
    """
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    steps = list(dict.fromkeys(s for e in procedure.examples for s in e.steps))
    ids = {step: i + 2 for i, step in enumerate(steps)}
    size = len(steps) + 4
    logits = torch.rand(size, size, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=lr)
    repeats = any(len(set(e.steps)) < len(e.steps) for e in procedure.examples)
    positions = None
    for _ in range(epochs):
        if positions is None or repeats:
            executions = [
                (0, 1, *(ids[s] for s in _once(e.steps, chance)), size - 2, size - 1)
                for e in procedure.examples
            ]
            positions = _positions(executions, size)
        optimizer.zero_grad()
        _loss(adjacency(logits), *positions, BETA).backward()
        optimizer.step()
    return tidy(adjacency(logits.detach())[1:-1, 1:-1], steps)


def _once(steps: Sequence[str], chance: random.Random) -> list[str]:
    """Each step once, where it is first or, by chance, last."""
    last = {s for s in dict.fromkeys(steps) if steps.count(s) > 1 and chance.random() < 0.5}
    return [
        step
        for place, step in enumerate(steps)
        if step not in (steps[place + 1 :] if step in last else steps[:place])
    ]


def tidy(weights: Tensor, steps: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Turn soft edges into a graph without cycles or superfluous edges.

    Args:
        weights: (n + 2, n + 2) over START, the steps and END.
        steps: names of the n steps.

    Returns:
        Preconditions of each step and of END.
    """
    names = [START, *steps, END]
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    kept = weights > 1 / len(names)
    kept[0] = kept[:, -1] = False  # nothing comes before START or after END
    for i, j in kept.nonzero().tolist():
        graph.add_edge(names[j], names[i], weight=weights[i, j].item())
    while not nx.is_directed_acyclic_graph(graph):
        cycle = nx.find_cycle(graph)
        graph.remove_edge(*min(cycle, key=lambda edge: graph.edges[edge]["weight"]))
    for step in steps:
        if not graph.in_degree(step):
            graph.add_edge(START, step)
        if not graph.out_degree(step):
            graph.add_edge(step, END)
    reduced = nx.transitive_reduction(graph)
    return {name: tuple(sorted(reduced.predecessors(name))) for name in (*steps, END)}


class LearnedGraph(Anticipator):
    """Flags steps whose preconditions in a learnt task graph are missing.

    Args:
        procedure: the examples; one graph is learnt for all of them.
        epochs: of the optimisation.
        seed: of its beginning.
    """

    threshold = 0.0

    def __init__(self, procedure: Procedure, *, epochs: int = 1200, seed: int = 0) -> None:
        self.preconditions = learn_graph(procedure, epochs=epochs, seed=seed)
        del self.preconditions[END]

    def expect(self, history: Sequence[str]) -> Anticipation:
        """Equal shares for the steps that are open and not yet done."""
        past = {START, *history}
        open_ = [
            s for s, needed in self.preconditions.items() if s not in past and past >= set(needed)
        ]
        return Anticipation.from_scores(dict.fromkeys(open_, 1))

    def surprise(self, history: Sequence[str], step: str) -> float:
        """Number of preconditions missing; 1 where the graph does not have the step."""
        checked = self._checked(history, step)
        return float(max(len(checked.missing), checked.flagged))

    def explain(self, history: Sequence[str], step: str) -> str:
        """Names the preconditions that are missing."""
        checked = self._checked(history, step)
        if checked.preconditions is None:
            return f"{step!r} is not in the task graph"
        missing = ", ".join(checked.missing)
        return f"not done before {step!r}: {missing}" if missing else "its preconditions are met"

    def _checked(self, history: Sequence[str], step: str) -> Checked:
        known = {s for s in history if s in self.preconditions}
        return _check(self.preconditions, {START, *known}, step)
