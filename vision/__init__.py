"""Sparse-attention backbones for timm and the perception tasks built on them.

Importing this package is cheap. It registers the backbones with timm as soon as timm itself is
imported (at once, when it already is), so both orders work::

    import vision, timm
    model = timm.create_model("biformer_tiny")
"""

from importlib import import_module

import wrapt


@wrapt.when_imported("timm")
def _register_backbones(_timm: object) -> None:
    import_module("vision.backbones")  # registers every family
