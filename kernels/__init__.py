"""Operators on tensors: for each a plain definition, a fast CPU form, and room for a GPU form."""

OWNER = "foveate"
"""Tells this package from others that are called `kernels` as well."""
