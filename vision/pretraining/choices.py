"""`foveate eval sparsifiner`: how good the keys are that a trained Sparsifiner chooses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from vision.attention.connectivity import ConnectivityPredictor
from vision.attention.connectivity_quality import Quality, connectivity_quality
from vision.attention.sparse_connectivity import SparseAttention
from vision.backbones.sparsifiner import Sparsifiner
from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.pretraining.classify import ClassifierConfig, create_classifier
from vision.pretraining.data import Pictures

BATCH = 50
EXECUTORS = ("dense", "csr", "block")


@torch.inference_mode()
def evaluate(
    weights: str | None,
    *,
    images: Path,
    size: int | None = None,
    query_block: int = 128,
    key_block: int = 32,
    device: str | None = None,
) -> dict[str, Any]:
    """Compare the keys that predictors choose with the model's own attention to all keys.

    Tokens are not dropped here.

    Args:
        weights: of a Sparsifiner, by catalogue name or path.
        images: uncompressed tar or folder of pictures, in a folder a class.
        size: side of the pictures; what depends on places is resampled for another than the
            weights were trained with.
        query_block, key_block: of the blocks that are judged beside single keys.
        device: where to run.

    Returns:
        `images`, `tokens`, `keep_rate`; `top1` `{executor: share}`, `"dense"` being all keys; and
        `choices` `{name: {"recall", "mass", "kept"}}`, means over pictures, blocks of the model,
        heads and queries; see `connectivity_quality`.

    Raises:
        FoveateError: weights, pictures or a device that are not there, or another kind of model.
    """
    place = pick_device(device)
    opened = open_weights(weights, task="classification")
    config = opened.config(ClassifierConfig)
    classes: list[str] = opened.metadata["classes"]
    if not isinstance(create_classifier(config, len(classes)), Sparsifiner):
        raise FoveateError(f"weights {opened.name!r} are of {config.model}, no Sparsifiner")
    blocks = {"query_block": query_block, "key_block": key_block}
    models = {}
    for mode in EXECUTORS:
        options = {**config.options, "token_keep_rate": 1.0, "mode": mode, **blocks}
        model: Any = create_classifier(replace(config, options=options), len(classes))
        own = model.state_dict()
        model.load_state_dict({n: t for n, t in opened.tensors.items() if n in own})
        if size is not None:
            model.set_input_size((size, size))
        models[mode] = model.to(place).eval()
    view = config.view if size is None else replace(config.view, size=(size, size))
    pictures = Pictures(images, view.evaluation(), classes)
    judge = ChoiceMetrics(models["csr"])
    hits = dict.fromkeys(EXECUTORS, 0)
    for batch, labels in DataLoader(pictures, batch_size=BATCH):
        for mode, model in models.items():
            hits[mode] += int((model(batch.to(place)).argmax(-1).cpu() == labels).sum())
    return {
        "images": len(pictures),
        "tokens": judge.tokens,
        "keep_rate": judge.keep_rate,
        "top1": {mode: count / len(pictures) for mode, count in hits.items()},
        "choices": judge.compute(),
    }


class ChoiceMetrics:
    """Judges every attention of a model while it runs, from then on that it is given.

    Args:
        model: one whose attentions have predictors and drop no tokens.
    """

    def __init__(self, model: Sparsifiner) -> None:
        self.grid = model.patch_embed.grid_size
        self.tokens = self.grid[0] * self.grid[1] + 1
        self.sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(3, dtype=torch.float64))
        self.pictures = 0
        for module in model.modules():
            if isinstance(module, SparseAttention):
                assert module.mask_predictor is not None
                self.keep_rate = module.mask_predictor.keep_rate
                module.register_forward_pre_hook(self._judge)

    def _judge(self, module: SparseAttention, arguments: tuple[Tensor, ...]) -> None:
        predictor = module.mask_predictor
        assert isinstance(predictor, ConnectivityPredictor)
        query, key, _ = module._heads(arguments[0])
        attention = ((query * module.scale) @ key.transpose(-2, -1)).softmax(-1)
        patches = query[:, :, 1:]
        matrices = predictor.matrices(None, None, None)
        report = connectivity_quality(
            attention,
            predictor.score(patches, key, *matrices),
            self.grid,
            predictor.keep_rate,
            query_block=module.query_block,
            key_block=module.key_block,
            block_scores=predictor.score_blocks(
                patches, key, *matrices, module.query_block, module.key_block
            ),
        )
        for name, quality in report.items():
            self.sums[name] += len(query) * torch.tensor(quality, dtype=torch.float64)
        self.pictures += len(query)

    def compute(self) -> dict[str, dict[str, float]]:
        """Means of recall, mass and share kept, of every choice."""
        return {
            name: Quality(*(sums / self.pictures).tolist())._asdict()
            for name, sums in self.sums.items()
        }


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned."""
    console = console or Console()
    title = f"{report['tokens']} tokens, keep rate {report['keep_rate']}"
    table = Table("choice", "recall (%)", "attention (%)", "kept (%)", title=title)
    for name, quality in report["choices"].items():
        table.add_row(name, *(f"{100 * quality[part]:.1f}" for part in Quality._fields))
    console.print(table)
    shares = ", ".join(f"{mode} {100 * share:.1f} %" for mode, share in report["top1"].items())
    console.print(f"top-1 of {report['images']} pictures: {shares}")
