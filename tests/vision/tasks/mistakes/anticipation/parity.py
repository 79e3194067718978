"""Parity of task graphs and of the step measure with recorded outputs of the published code."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from tests.parity import BACKWARD, EXACT, Adapter, Check, Fixture
from vision.tasks.mistakes.anticipation.graph import adjacency, check_preconditions, graph_loss
from vision.tasks.mistakes.metrics import set_metrics

METRIC = 1e-9


def check_graph(fixture: Fixture) -> Iterator[Check]:
    """The graph's weights, the loss and its gradient. Row 0 of the record is not a number."""
    (logits,) = fixture.group("weights").values()
    logits = logits.clone().requires_grad_()
    given, expected = fixture.group("input"), fixture.group("output")
    weights = adjacency(logits)
    executions = [[node for node in row if node >= 0] for row in given["sequences"].tolist()]
    loss = graph_loss(weights, executions, given["beta"].item())
    loss.backward()
    yield Check("adjacency", weights[1:], expected["adjacency"][1:])
    yield Check("loss", loss.reshape(expected["loss"].shape), expected["loss"])
    for name, gradient in fixture.group("grad").items():
        yield Check(f"gradient of {name}", logits.grad, gradient, BACKWARD)


def check_steps(fixture: Fixture) -> Iterator[Check]:
    """The step measure; where the record divides by zero ours is 0."""
    for i, case in enumerate(fixture.data["cases"]):
        measured = set_metrics(case["gts"], case["preds"])
        for name, value in case["expected"].items():
            undefined = value == "nan" or (isinstance(value, float) and math.isnan(value))
            yield Check(f"{i}: {name}", measured[name], 0.0 if undefined else value, METRIC)


def check_checks(fixture: Fixture) -> Iterator[Check]:
    """Flags, missing preconditions and preconditions of every step."""
    for i, case in enumerate(fixture.data["cases"]):
        needed: dict[str, list[str]] = {}
        for before, step in case["edges_precondition_to_step"]:
            needed.setdefault(step, []).append(before)
        steps = [f"{step}_s{step}" for step in case["sequence"]]
        checked = check_preconditions(needed, steps)
        flags = [int(c.flagged) for c in checked]
        missing = [list(c.missing) for c in checked]
        preconditions = [sorted(c.preconditions or ["NOT DEFINED"]) for c in checked]
        yield Check(f"{i}: flags", torch.tensor(flags), torch.tensor(case["expected_pred"]), EXACT)
        for name, ours in (("missing", missing), ("preconditions", preconditions)):
            theirs = [sorted(names) for names in case[f"expected_{name}"]]
            yield Check(f"{i}: {name}", repr(ours), repr(theirs), EXACT)


PREFIXES: dict[str, Adapter] = {
    "mistakes_taskgraph": check_graph,
    "metric_mistakes_steps": check_steps,
    "metric_mistakes_taskgraph": check_checks,
}
