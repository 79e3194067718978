"""Frame features of videos: streamed at a chosen rate, computed once, shared by the video tasks."""

from vision.features.extractor import FeatureConfig, FeatureExtractor, FeatureStream, Ticks, mirror
from vision.features.video import Features, read_video, video_features

__all__ = [
    "FeatureConfig",
    "FeatureExtractor",
    "FeatureStream",
    "Features",
    "Ticks",
    "mirror",
    "read_video",
    "video_features",
]
