"""Loaders of every training: samples go on from the trainer's step, so that runs can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class Loaders(L.LightningDataModule):
    """Loaders of training samples, going on from the trainer's step, and of the validation.

    Args:
        samples: of the whole training, in order.
        val: loader of the validation.
        batch: samples a step.
        **options: more of the training loader's arguments, such as `collate_fn`.
    """

    def __init__(
        self, samples: Dataset[Any], val: DataLoader[Any], batch: int, **options: Any
    ) -> None:
        super().__init__()
        self.samples, self.val, self.batch, self.options = samples, val, batch, options

    def train_dataloader(self) -> DataLoader[Any]:
        """Samples from the trainer's step on."""
        sampler = FromStep(self, len(self.samples), self.batch)  # type: ignore[arg-type]  # sized
        return DataLoader(self.samples, batch_size=self.batch, sampler=sampler, **self.options)

    def val_dataloader(self) -> DataLoader[Any]:
        """What to validate with."""
        return self.val


class FromStep(Sampler[int]):
    """Indices in order, beginning where the trainer stands, so that a resumed run goes on."""

    def __init__(self, data: L.LightningDataModule, length: int, batch: int) -> None:
        self.data, self.length, self.batch = data, length, batch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        trainer = self.data.trainer
        done = trainer.global_step * self.batch if trainer is not None else 0
        return iter(range(done, self.length))


def one_thread(_: int) -> None:
    """Keep a loader's worker process to one core."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


ONE_WORKER: dict[str, Any] = {
    "num_workers": 1,
    "prefetch_factor": 4,
    "worker_init_fn": one_thread,
}
"""Arguments of a loader that makes samples beside the training, on one core."""
