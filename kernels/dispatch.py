"""Which form of an operator runs: the caller's argument, then the environment, then the device."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast, get_args

import torch

Backend = Literal["reference", "cpu", "triton"]

VARIABLE = "FOVEATE_KERNELS"
"""Environment variable that chooses the form wherever the caller leaves the choice open."""


def choose(backend: str | None, device: torch.device) -> Backend:
    """Name the form that is to run on `device`.

    Args:
        backend: "reference", "cpu", "triton", or None to leave the choice open.
        device: where the operator's inputs lie; decides an open choice.

    Raises:
        ValueError: the name is unknown, or that form cannot run on the device.
    """
    default = "cpu" if device.type == "cpu" else "reference"
    name = backend or os.environ.get(VARIABLE) or default
    if name not in get_args(Backend):
        asked = "backend" if backend else VARIABLE
        raise ValueError(f"{asked}={name!r} is unknown; choose from {', '.join(get_args(Backend))}")
    if name == "triton":
        raise ValueError("there is no triton form yet; choose 'reference'")
    if name == "cpu" and device.type != "cpu":
        raise ValueError(f"the cpu form cannot run on {device}; choose 'reference'")
    return cast(Backend, name)


def no_autocast(device: str) -> AbstractContextManager[Any]:
    """Keep autocast, where it is on for this type of device, from changing dtypes inside."""
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()
