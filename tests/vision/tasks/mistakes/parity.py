"""Parity of the recogniser, its windows, its aggregation and its metrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tests.parity import BACKWARD, EXACT, Adapter, Check, Fixture, compare
from vision.tasks.mistakes import oad
from vision.tasks.mistakes.aggregate import aggregate, runs
from vision.tasks.mistakes.data import window_starts
from vision.tasks.mistakes.losses import anticipation_loss, nonuniform_loss
from vision.tasks.mistakes.recognition import (
    OFFICIAL,
    MiniROAD,
    RecognizerConfig,
    load_recognizer,
)

METRIC = 1e-9


def check_recognizer(fixture: Fixture) -> Iterator[Check]:
    """Scores, logits, losses, gradients and the state frame by frame."""
    inputs, expected = fixture.group("input"), fixture.group("output")
    args = fixture.config["args"]
    names = [name for name in ("rgb", "flow") if not args.get(f"no_{name}")]
    for name in names:
        inputs[name].requires_grad_()
    features = torch.cat([inputs[name] for name in names], dim=-1)
    model = MiniROAD(
        RecognizerConfig(
            features=features.shape[-1],
            classes=args["num_classes"],
            embed=args["embedding_dim"],
            hidden=args["hidden_dim"],
            layers=args["num_layers"],
            dropout=0.0,
            anticipation=args.get("anticipation_length", 0),
        )
    )
    load_recognizer(model, fixture.group("weights"), fixture.path.name)
    found = model(features)
    outputs: dict[str, Tensor] = {
        "logits_train": found.logits,
        "scores_eval": model.eval()(features).logits.softmax(-1),
        "stream_hidden": states(model, features),
    }
    if "target" in inputs:
        for reduction in ("mean", "sum"):
            loss = nonuniform_loss(found.logits, inputs["target"], reduction)
            outputs[f"loss_{reduction}"] = loss.reshape(1)
    if found.anticipated is not None:
        outputs["ant_logits_train"] = found.anticipated
        outputs["ant_scores_eval"] = found.anticipated.softmax(-1)
        for reduction in ("mean", "sum"):
            loss = anticipation_loss(found.anticipated, inputs["ant_target"], reduction)
            outputs[f"ant_loss_{reduction}"] = loss.reshape(1)
    yield from compare(outputs, expected)
    yield from gradients(fixture, model, outputs)


def states(model: MiniROAD, features: Tensor) -> Tensor:
    """The GRU's state `(layers, T, B, H)` after each frame, fed one at a time."""
    state, found = None, []
    for frame in features.detach().split(1, dim=1):
        state = model(frame, state).state
        found.append(state)
    return torch.stack(found, dim=1)


def gradients(fixture: Fixture, model: MiniROAD, outputs: dict[str, Tensor]) -> Iterator[Check]:
    """Of the loss in the weights, and of the logits times their cotangent in the inputs."""
    official = {ours: theirs for theirs, ours in OFFICIAL.items()}
    for kind, gradient in (("loss", fixture.group("grad.loss")),):
        if gradient:
            model.zero_grad()
            outputs["loss_mean"].backward(retain_graph=True)
            ours = {}
            for name, parameter in model.named_parameters():
                start = next((part for part in official if name.startswith(part)), "")
                ours[official.get(start, "") + name[len(start) :]] = parameter.grad
            for name, expected in gradient.items():
                yield Check(f"grad.{kind}.{name}", ours.get(name), expected, BACKWARD)
    inputs = fixture.group("input")
    recorded = fixture.group("grad.logits.input")
    if recorded:
        found = torch.autograd.grad(
            outputs["logits_train"], [inputs[n] for n in recorded], inputs["cotangent_logits"]
        )
        for (name, expected), ours in zip(recorded.items(), found, strict=True):
            yield Check(f"grad.logits.input.{name}", ours, expected, BACKWARD)


def check_windows(fixture: Fixture) -> Iterator[Check]:
    """First and last frame of the training windows, in the padded video."""
    for case in fixture.data["cases"]:
        starts = window_starts(case["frames"], case["stride"], case["offset"])
        ours = [[start, start + case["window"]] for start in starts]
        name = f"{case['frames']} frames, window {case['window']}, stride {case['stride']}"
        yield Check(name, ours, case["windows"], EXACT)


def check_aggregation(fixture: Fixture) -> Iterator[Check]:
    """NOMA: labels and ends of the steps, predicted and true."""
    window = fixture.data["window"]
    for name, case in fixture.data["cases"].items():
        predicted, truth = (
            [label for label, count in case[f"{part}_rle"] for _ in range(count)]
            for part in ("pred", "gt")
        )
        steps = {"pred": runs(aggregate(predicted, window)), "gt": runs(truth)}
        for part, found in steps.items():
            ours = [run.label for run in found]
            yield Check(f"{name} {part}", ours, case["expected"][part], EXACT)
            ends = [run.end for run in found]
            yield Check(f"{name} changes {part}", ends, case["expected"][f"changes_{part}"], EXACT)


def check_metrics(fixture: Fixture) -> Iterator[Check]:
    """Per frame and per stage, by class and on average."""
    for n, case in enumerate(fixture.data["cases"]):
        scores, target = np.array(case["scores"]), np.array(case["target"])
        if case.get("postprocessing") == "thumos":
            options = {k: case[k] for k in ("smooth", "switch") if k in case}
            scores, target = oad.thumos(scores, target, **options)
        metric = case["metric"]
        name = f"case {n} {metric}"
        yield from check_classes(name, oad.per_frame(scores, target, metric=metric), case)
        stages = oad.per_stage(scores, target, metric=metric) if "per_stage" in case else []
        for ours, (stage, expected) in zip(stages, case.get("per_stage", {}).items(), strict=True):
            yield from check_classes(f"{name} {stage.strip()}", ours, expected)


def check_classes(name: str, ours: dict[int, float], expected: dict) -> Iterator[Check]:
    named = {f"c{k}": value for k, value in ours.items()}
    yield Check(name, named, expected["per_class"], METRIC)
    yield Check(f"{name} mean", oad.mean(ours), expected["mean"], METRIC)


PREFIXES: dict[str, Adapter] = {
    "mistakes_miniroad_": check_recognizer,
    "metric_mistakes_windows": check_windows,
    "metric_mistakes_aggregate": check_aggregation,
    "metric_mistakes_oad": check_metrics,
}
