"""Pixels in and out: readers, sinks and the pipeline that runs a task over video."""
