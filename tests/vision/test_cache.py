"""Where things are kept."""

from pathlib import Path

import pytest

from vision.cache import cache_folder


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"FOVEATE_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/features"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/foveate/features"),
        ({"FOVEATE_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/foveate/features"),
    ],
)
def test_the_nearest_setting_counts(monkeypatch, variables, folder):
    for name in ("FOVEATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder("features") == Path(folder)
