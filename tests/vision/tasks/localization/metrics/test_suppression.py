"""Suppression in time: against torchvision, against the loops written out, and its properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import nms

from vision.tasks.localization.suppression import batched_nms, segment_iou, soft_nms_bsn, vote

seeds = st.integers(0, 10_000)


def a_set(seed, count, long=100.0):
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, long, count)
    spans = np.stack([starts, starts + rng.uniform(0.01, 0.4, count) * long], axis=1)
    return spans.astype(np.float32), rng.uniform(0, 1, count).astype(np.float32)


def overlap(a, b):
    inner = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inner / (a[1] - a[0] + b[1] - b[0] - inner)


@given(seeds, st.integers(0, 12), st.integers(0, 12))
def test_overlaps(seed, first, second):
    a, b = a_set(seed, first)[0], a_set(seed + 1, second)[0]
    table = segment_iou(a, b)
    assert table.shape == (first, second)
    for i in range(first):
        for j in range(second):
            assert table[i, j] == pytest.approx(overlap(a[i], b[j]), abs=1e-6)


def test_empty_segments_overlap_nothing():
    assert segment_iou([[1, 1]], [[1, 1], [0, 2]]).tolist() == [[0, 0]]


@given(seeds, st.integers(1, 30))
def test_hard_suppression_is_that_of_boxes(seed, count):
    spans, scores = a_set(seed, count)
    tall = np.stack([spans[:, 0], 0 * spans[:, 0], spans[:, 1], 0 * spans[:, 0] + 1], axis=1)
    expected = nms(torch.from_numpy(tall), torch.from_numpy(scores), 0.4).numpy()
    found, values, _ = batched_nms(
        spans, scores, np.zeros(count), method="hard", iou=0.4, min_score=0.0
    )
    assert np.array_equal(found, spans[expected])
    assert np.array_equal(values, scores[expected])


@given(seeds, st.integers(1, 20), st.sampled_from(["mmaction2", "bmn-pytorch"]))
def test_gated_soft_suppression_of_proposals(seed, count, variant):
    spans, scores = a_set(seed, count, long=1.0)
    left = [(float(v), tuple(map(float, s))) for v, s in zip(scores, spans, strict=True)]
    expected = []
    while left and (variant == "mmaction2" or len(left) > 1):
        best = max(left)
        left.remove(best)
        expected.append(best)
        gate = 0.5 + 0.4 * (best[1][1] - best[1][0])
        near = [overlap(best[1], s) for _, s in left]
        left = [
            (v * math.exp(-o * o / 0.4) if o > gate else v, s)
            for o, (v, s) in zip(near, left, strict=True)
        ]
    found, values = soft_nms_bsn(spans, scores, variant=variant)
    assert values == pytest.approx([v for v, _ in expected])
    assert found == pytest.approx(np.array([s for _, s in expected]).reshape(-1, 2))


@given(seeds, st.integers(0, 25), st.sampled_from(["linear", "gaussian", "gated", "hard"]))
def test_what_comes_out(seed, count, method):
    spans, scores = a_set(seed, count)
    labels = np.arange(count) % 3
    found, values, classes = batched_nms(
        spans, scores, labels, method=method, min_score=0.05, keep=10, gate=(0.2, 0.001)
    )
    assert len(found) == len(values) == len(classes) <= 10
    assert (np.diff(values) <= 0).all()
    before = {tuple(span): n for n, span in enumerate(spans.tolist())}
    for segment, value, label in zip(found.tolist(), values, classes, strict=True):
        n = before[tuple(segment)]
        assert label == labels[n]
        assert value <= scores[n]


def test_classes_suppress_each_other_only_where_told():
    spans, scores, labels = [[0, 10], [0, 10]], [0.9, 0.8], [0, 1]
    apart = batched_nms(spans, scores, labels, method="gaussian", sigma=0.5)
    assert apart[1] == pytest.approx([0.9, 0.8])
    together = batched_nms(spans, scores, labels, method="gaussian", sigma=0.5, multiclass=False)
    assert together[1] == pytest.approx([0.9, 0.8 * math.exp(-2)], rel=1e-4)


def test_vote_moves_a_segment_to_its_neighbours():
    spans, scores = [[0, 10], [1, 11], [50, 60]], [0.75, 0.25, 0.5]
    assert vote([[0, 10]], spans, scores, 0.7).tolist() == [[0.25, 10.25]]
    assert vote([[80, 90]], spans, scores, 0.7).tolist() == [[80, 90]]
    found, _, _ = batched_nms(spans, scores, [0, 0, 0], multiclass=False, voting=0.7, keep=1)
    assert found.tolist() == [[0.25, 10.25]]
