"""The published model in this repository's small set of recorded runs."""

from pathlib import Path

import pytest

from tests.parity import run

FIXTURES = sorted((Path(__file__).parents[3] / "data" / "fixtures").glob("oat_*"))


def test_there_is_a_recorded_run_of_every_kind():
    kinds = {path.name.split("_")[1] for path in FIXTURES}
    assert kinds == {"pe", "pefit", "cnn", "spp", "pointer", "full", "decode"}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_official_outputs(path):
    checks = run(path)
    assert checks
    assert [check.name for check in checks if not check.passed] == []
