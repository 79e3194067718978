"""Markers that timm's own test file uses."""

import pytest

MARKERS = (
    *("base", "forward", "backward", "cfg", "cfg_nonstd", "torchscript", "features"),
    *("fxforward", "fxbackward", "timeout"),
)


def pytest_configure(config: pytest.Config) -> None:
    for name in MARKERS:
        config.addinivalue_line("markers", f"{name}: of timm's tests")
