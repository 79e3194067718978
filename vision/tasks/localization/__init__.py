"""Temporal action localization: what happens in a video, from when to when."""
