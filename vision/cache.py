"""Where what was computed once is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(part: str) -> Path:
    """Folder of one part: in `FOVEATE_CACHE`, else in foveate's of the user's cache folder."""
    home = os.environ.get("FOVEATE_CACHE")
    if home:
        return Path(home) / part
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "foveate" / part
