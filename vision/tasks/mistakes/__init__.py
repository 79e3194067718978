"""Mistakes in procedures: what is being done, what should be, and when they differ."""
