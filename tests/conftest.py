"""What all tests share: one thread, no network, the sample clip."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch and any hub client are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure.
settings.register_profile("foveate", deadline=None)
settings.load_profile("foveate")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def sample_clip() -> Path:
    """15.6 s of people, 480x270 at 12 frames a second, four shots."""
    return DATA / "people_cc_by.mp4"
