"""Attention mechanisms as modules, one file a mechanism."""
