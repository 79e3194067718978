"""What backbones learn before and beside the tasks: a pretext, and to classify pictures."""

from __future__ import annotations

from pathlib import Path

from vision.tasks.base import Option, Study

_IMAGES = Option("images", Path, ..., "Uncompressed tar or folder with the pictures")
_DEVICE = Option("device", str, None, "Where to run, such as cpu or cuda:0")

STUDIES = (
    Study(
        name="droppos",
        summary="Pretrain a backbone by finding where patches came from",
        train="vision.pretraining.train:train",
        evaluate="vision.pretraining.evaluate:evaluate",
        report="vision.pretraining.evaluate:print_report",
        show="vision.pretraining.show:show",
        eval_options=(_IMAGES, _DEVICE),
    ),
    Study(
        name="classification",
        summary="Classify whole pictures: fine-tune any timm model",
        train="vision.pretraining.finetune:train",
        evaluate="vision.pretraining.classify:evaluate",
        report="vision.pretraining.classify:print_report",
        eval_options=(_IMAGES, _DEVICE),
    ),
)
"""Trainings that are no task of their own: `foveate train NAME`, `foveate eval NAME`."""
