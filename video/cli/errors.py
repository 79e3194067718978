"""What went wrong, said to the user."""

from __future__ import annotations

import sys


def say(error: object) -> None:
    """Print a mistake in one line, whatever the names in it are made of."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
    print(f"foveate: {text}", file=sys.stderr)
