"""Where models run."""

from __future__ import annotations

import torch

from vision.errors import FoveateError


def pick_device(name: str | None) -> torch.device:
    """The device of that name, or the best there is when None.

    Args:
        name: such as `"cpu"`, `"cuda"` or `"cuda:1"`.

    Raises:
        FoveateError: no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise FoveateError(f"no device {name!r} here; there is {', '.join(there)}") from None
    return device
