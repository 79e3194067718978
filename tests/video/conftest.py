"""Clips shared by the tests of this folder, each made once."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.video.clips import write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of 64 x 48 at 20 frames/s, a key frame every 10, without sound."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="session")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with AAC sound."""
    return write_clip(tmp_path_factory.mktemp("sounding") / "sounding.mp4", audio="aac")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(clip: Path, sounding: Path) -> Iterator[str]:
    """Address of a local HTTP server with `clip.mp4` and `sounding.mp4`."""
    (clip.parent / "sounding.mp4").write_bytes(sounding.read_bytes())
    handler = partial(_Quiet, directory=str(clip.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
