"""Maps to proposals: against the loops written out."""

import numpy as np
import pytest

from vision.tasks.localization.proposals import (
    likely_boundaries,
    proposals_duration_start,
    proposals_start_end,
)
from vision.tasks.localization.suppression import soft_nms_bsn

FRAMES, SECONDS = 165, 10.0
COVERED = 160 / 165 * 10


def maps(cells, durations=None):
    rng = np.random.default_rng(cells)
    shape = (durations or cells, cells)
    return rng.random(cells), rng.random(cells), rng.random(shape), rng.random(shape)


def seconds(candidates, **options):
    segments, scores = zip(*candidates, strict=True)
    segments, scores = soft_nms_bsn(segments, scores, **options)
    return segments * COVERED, scores


def test_every_pair_of_cells():
    start, end, classification, regression = maps(7)
    candidates = [
        ((s / 7, e / 7), start[s] * end[e] * classification[s, e - 1] * regression[s, e - 1])
        for s in range(7)
        for e in range(s + 1, 7)
    ]
    expected = seconds(candidates, variant="bmn-pytorch")
    found = proposals_start_end(
        start, end, classification, regression, frames=FRAMES, seconds=SECONDS
    )
    assert len(found[1]) == 20  # the last of 21 is dropped
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("durations", [9, 4])
def test_pairs_of_likely_boundaries(durations):
    start, end, classification, regression = maps(9, durations)
    first = [s == 0 or bool(likely_boundaries(start)[s]) for s in range(9)]
    last = [e == 8 or bool(likely_boundaries(end)[e]) for e in range(9)]
    candidates = [
        ((s / 9, e / 9), start[s] * end[e] * classification[d, s] * regression[d, s])
        for d in range(durations)
        for s in range(9)
        if (e := s + d + 1) < 9 and first[s] and last[e]
    ]
    expected = seconds(candidates, keep=5)
    found = proposals_duration_start(
        start, end, classification, regression, frames=FRAMES, seconds=SECONDS, keep=5
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)


def test_likely_boundaries():
    # a peak below half of the largest counts; a plateau above half does; ends never
    p = [0.9, 0.1, 0.3, 0.2, 0.6, 0.6, 0.1, 1.0]
    assert np.flatnonzero(likely_boundaries(p)).tolist() == [2, 4, 5]
