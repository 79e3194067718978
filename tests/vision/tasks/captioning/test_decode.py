"""Greedy and beam decoding against an exhaustive search."""

from itertools import pairwise, product

import pytest
import torch

from vision.tasks.captioning.decode import beam_search, greedy
from vision.tasks.captioning.encoder import PictureInputs
from vision.tasks.captioning.model import END, Captioner, CaptionerConfig

CONFIG = CaptionerConfig(
    words=5,
    classes=3,
    length=4,
    width=8,
    word_width=6,
    attention_width=5,
    region_width=7,
    feature_width=6,
)


def inputs(count: int = 3, regions: int = 4) -> PictureInputs:
    return PictureInputs(
        overall=torch.randn(count, 7),
        grid=torch.randn(count, 4, 7),
        regions=torch.randn(count, regions, 7),
        boxes=torch.rand(count, regions, 5),
        labels=torch.randint(0, 4, (count, regions)),
        confidence=torch.rand(count, regions),
        hidden=torch.arange(regions) >= torch.tensor([[regions], [2], [0]])[:count],
    )


@pytest.fixture
def model():
    torch.manual_seed(4)
    model = Captioner(CONFIG).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)  # so that words differ
    return model


@pytest.fixture
def scene(model):
    torch.manual_seed(1)
    return model.encode(inputs())


@torch.no_grad()
def best_of_all(model, scene, forbidden=None):
    """Every caption there can be, by its summed log-probability."""
    captions = [
        c
        for c in product(range(5), repeat=4)
        if not any(a == END and b != END for a, b in pairwise(c))
    ]
    best = []
    for i in range(len(scene.overall)):
        one = scene.select(torch.tensor([i]).repeat(len(captions)))
        target = torch.tensor(captions)
        log_probs = model(one, target, cycle=False).log_probs
        said = log_probs.gather(2, target[..., None]).squeeze(2)
        kept = torch.cat((torch.ones_like(target[:, :1]), target[:, :-1]), 1) > 0
        scores = (said * kept).sum(1)
        if forbidden is not None:
            scores[(target == forbidden).any(1)] = -torch.inf
        best.append((captions[int(scores.argmax())], float(scores.max())))
    return best


@pytest.mark.parametrize("unknown", [None, 4])
def test_a_wide_beam_finds_the_best_caption_there_is(model, scene, unknown):
    found = beam_search(model, scene, 200, unknown=unknown)
    for hypotheses, (caption, score) in zip(found, best_of_all(model, scene, unknown), strict=True):
        words = [w for w in caption if w != END]
        assert hypotheses[0].words.tolist() == words
        assert hypotheses[0].score == pytest.approx(score, abs=1e-4)


def test_a_beam_of_one_is_greedy(model, scene):
    words, attention = greedy(model, scene, unknown=4)
    for row, weights, (best, *_) in zip(
        words, attention, beam_search(model, scene, 1, unknown=4), strict=True
    ):
        length = len(best.words)
        assert row[:length].tolist() == best.words.tolist()
        assert torch.allclose(weights[:length], best.attention, atol=1e-6)


def test_hypotheses_are_ranked_and_differ(model, scene):
    for hypotheses in beam_search(model, scene, 6):
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.words.tolist()) for h in hypotheses}) == len(hypotheses) == 6


def test_the_penalty_divides_by_the_length(model, scene):
    for hypotheses in beam_search(model, scene, 4, penalty=1.0):
        for h in hypotheses:
            assert h.score == pytest.approx(float(h.log_probs.mean()), abs=1e-5)
    shortest, longest = (
        max(len(h.words) for row in beam_search(model, scene, 4, penalty=p) for h in row[:1])
        for p in (0.0, 3.0)
    )
    assert longest >= shortest


def test_the_published_ranking_returns_the_first_caption_to_end(model, scene):
    for right, first in zip(
        beam_search(model, scene, 5),
        beam_search(model, scene, 5, first_finished=True),
        strict=True,
    ):
        assert len(first[0].log_probs) <= min(len(h.log_probs) for h in right)


def test_the_word_for_unknown_words_is_never_said(model, scene):
    model.vocabulary.bias.data[4] = 50
    assert (greedy(model, scene)[0] == 4).all()
    assert (greedy(model, scene, unknown=4)[0] != 4).all()
    for hypotheses in beam_search(model, scene, 3, unknown=4):
        assert all(4 not in h.words for h in hypotheses)


def test_pictures_do_not_disturb_each_other(model, scene):
    together = beam_search(model, scene, 3)
    for i, hypotheses in enumerate(together):
        (alone,) = beam_search(model, scene.select(torch.tensor([i])), 3)
        assert [h.words.tolist() for h in alone] == [h.words.tolist() for h in hypotheses]
