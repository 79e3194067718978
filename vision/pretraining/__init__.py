"""What backbones learn before and beside the tasks: a pretext, to classify, to be sparse."""

from __future__ import annotations

from pathlib import Path

from vision.tasks.base import Option, Study

_IMAGES = Option("images", Path, ..., "Uncompressed tar or folder with the pictures")
_SIZE = Option("size", int, None, "Side of the pictures in pixels; the weights' own by default")
_QUERIES = Option("query_block", int, 128, "Queries in a block", (1, None))
_KEYS = Option("key_block", int, 32, "Keys in a block", (1, None))
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
    Study(
        name="sparsifiner",
        summary="Make a trained ViT sparse, and see how well it chooses keys",
        train="vision.pretraining.sparsify:train",
        evaluate="vision.pretraining.choices:evaluate",
        report="vision.pretraining.choices:print_report",
        eval_options=(_IMAGES, _SIZE, _QUERIES, _KEYS, _DEVICE),
    ),
)
"""Trainings that are no task of their own: `foveate train NAME`, `foveate eval NAME`."""
