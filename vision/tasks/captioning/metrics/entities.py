"""Files of ActivityNet-Entities and Flickr30k-Entities as sentences and predictions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from vision.tasks.captioning.metrics.grounding import GroundedPrediction, GroundedSentence

Segment = tuple[str, str]
"""Video and segment."""


def anet_references(
    annotations: Mapping[str, Any], videos: Container[str]
) -> dict[Segment, list[GroundedSentence]]:
    """Annotated sentences of ActivityNet-Entities, one a segment.

    Args:
        annotations: `annotations` of the reference file.
        videos: those of the split.
    """
    return {
        (video, name): [_anet_sentence(segment)]
        for video, entry in annotations.items()
        if video in videos
        for name, segment in entry["segments"].items()
    }


def anet_predictions(results: Mapping[str, Any]) -> dict[Segment, GroundedPrediction]:
    """Predictions of a submission to ActivityNet-Entities, by segment.

    Args:
        results: `results` of the submission file.
    """
    return {
        (video, name): GroundedPrediction(
            given["clss"], given["idx_in_sent"], given["bbox_for_all_frames"]
        )
        for video, segments in results.items()
        for name, given in segments.items()
    }


def flickr_references(
    annotations: Sequence[Mapping[str, Any]], images: Container[str]
) -> dict[str, list[GroundedSentence]]:
    """Annotated sentences of Flickr30k-Entities, several an image.

    Args:
        annotations: `annotations` of the reference file.
        images: those of the split.
    """
    return {
        str(entry["image_id"]): [
            GroundedSentence(
                caption["tokens"],
                caption["process_clss"],
                caption["process_idx"],
                caption["process_bnd_box"],
                [0] * len(caption["process_idx"]),
            )
            for caption in entry["captions"]
        ]
        for entry in annotations
        if str(entry["image_id"]) in images
    }


def flickr_predictions(results: Mapping[str, Any]) -> dict[str, list[GroundedPrediction]]:
    """Predictions of a submission to Flickr30k-Entities, by image.

    Args:
        results: `results` of the submission file.

    Returns:
        One prediction an image where its sentence was generated, or one a reference sentence.
    """
    return {
        image: [
            GroundedPrediction(
                given["clss"], given["idx_in_sent"], [[box] for box in given["bbox"]]
            )
            for given in sentences
        ]
        for image, sentences in results.items()
    }


def _anet_sentence(segment: Mapping[str, Any]) -> GroundedSentence:
    entries = [
        (label, word, box, frame)
        for labels, words, box, frame in zip(
            segment["process_clss"],
            segment["process_idx"],
            segment["process_bnd_box"],
            segment["frame_ind"],
            strict=True,
        )
        for label, word in zip(labels, words, strict=True)
    ]
    labels, words, boxes, frames = zip(*entries, strict=True) if entries else ((), (), (), ())
    return GroundedSentence(segment["tokens"], labels, words, boxes, frames)
