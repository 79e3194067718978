"""Metrics of captions and of their grounding."""

from vision.tasks.captioning.metrics.entities import (
    anet_predictions,
    anet_references,
    flickr_predictions,
    flickr_references,
)
from vision.tasks.captioning.metrics.grounding import (
    GroundedPrediction,
    GroundedSentence,
    grounding_accuracy,
    grounding_scores,
)
from vision.tasks.captioning.metrics.text import CaptionScores, caption_scores
from vision.tasks.captioning.metrics.tokens import tokenize

__all__ = [
    "CaptionScores",
    "GroundedPrediction",
    "GroundedSentence",
    "anet_predictions",
    "anet_references",
    "caption_scores",
    "flickr_predictions",
    "flickr_references",
    "grounding_accuracy",
    "grounding_scores",
    "tokenize",
]
