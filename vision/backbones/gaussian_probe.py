"""Train adapters with and without the gate on the same features, in the same way, and compare them.

A figure for the gate means something only beside those of no gate, a gate that does not learn, a
learned average of the layers, and a linear probe of the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vision.backbones.gaussian_adapter import Gate, GaussianAdapter, LayerFeatures


class Features(NamedTuple):
    """What an encoder gave for annotated pictures: (N, L, D) and labels (N,) int64."""

    values: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ProbeConfig:
    """AdamW with cosine decay, alike for all that is compared; the last epoch counts.

    Args:
        epochs: passes over the data.
        batch: examples a step.
        lr: learning rate at the start.
        weight_decay: of everything but the gate.
    """

    epochs: int = 35
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.1


@dataclass(frozen=True)
class ProbeResult:
    """One kind of gate.

    Args:
        gate: which.
        accuracies: on held-out examples, one a seed, in [0, 1].
        learned: how many numbers are learned in gate, convolutions and head.
    """

    gate: str
    accuracies: list[float]
    learned: dict[str, int]

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return mean(self.accuracies)


def collect(encoder: LayerFeatures, batches: Iterable[tuple[Tensor, Tensor]]) -> Features:
    """Run the frozen encoder once over (pictures, labels)."""
    values, labels = zip(*((encoder(x), y) for x, y in batches), strict=True)
    return Features(torch.cat(values), torch.cat(labels))


def fit(adapter: GaussianAdapter, data: Features, config: ProbeConfig, seed: int = 0) -> None:
    """Train what is learned of an adapter on kept features."""
    generator = torch.Generator().manual_seed(seed)
    gate = [p for p in adapter.gate.parameters() if p.requires_grad]
    rest = [*adapter.conv.parameters(), *adapter.head.parameters()]
    groups: list[dict[str, Any]] = [{"params": gate, "weight_decay": 0.0}, {"params": rest}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    steps = config.epochs * -(-len(data.labels) // config.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    adapter.train()
    for _ in range(config.epochs):
        for index in torch.randperm(len(data.labels), generator=generator).split(config.batch):
            loss = F.cross_entropy(adapter.classify(data.values[index]), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    adapter.eval()


@torch.no_grad()
def accuracy(adapter: GaussianAdapter, data: Features) -> float:
    """Part of the examples that are classified rightly."""
    return (adapter.classify(data.values).argmax(1) == data.labels).float().mean().item()


def compare(
    encoder: LayerFeatures,
    train: Features,
    held_out: Features,
    *,
    gates: Sequence[Gate] = get_args(Gate),
    seeds: Sequence[int] = (0, 1, 2),
    config: ProbeConfig | None = None,
    **options: Any,
) -> list[ProbeResult]:
    """Train and measure every kind of gate with every seed.

    Args:
        encoder: what gave the features.
        train: examples to train on.
        held_out: examples to measure on; nothing is chosen by them.
        gates: kinds of gate.
        seeds: of the head's start and the order of examples.
        config: the training; None for the defaults.
        **options: further arguments of `GaussianAdapter`, such as `head` and `num_heads`.
    """
    classes = int(train.labels.max()) + 1
    results = []
    for gate in gates:
        accuracies = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                adapter = GaussianAdapter(encoder, classes, gate=gate, **options)
            fit(adapter, train, config or ProbeConfig(), seed)
            accuracies.append(accuracy(adapter, held_out))
        results.append(ProbeResult(gate, accuracies, adapter.learned()))
    return results
