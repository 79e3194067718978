"""The network: attention, masks, the cycle, and the quirks by switch."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vision.tasks.captioning.test_decode import CONFIG, inputs
from vision.tasks.captioning.attention import HIDDEN, SoftAttention, hide
from vision.tasks.captioning.encoder import VideoInputs
from vision.tasks.captioning.losses import (
    attention_loss,
    caption_loss,
    class_loss,
    kept_tokens,
)
from vision.tasks.captioning.model import Captioner

VIDEO = replace(CONFIG, variant="video", width=8, sampled_frames=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Captioner(CONFIG).eval()


def video_inputs(low: list[int]) -> VideoInputs:
    torch.manual_seed(5)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[:, low] = True
    return VideoInputs(
        frames=torch.randn(2, 6, 3072),
        window=torch.tensor([[0, 4], [2, 6]]),
        segment=torch.rand(2, 4),
        regions=torch.randn(2, 4, 7),
        boxes=torch.rand(2, 4, 5) * 100,
        count=torch.tensor([4, 4]),
        low=mask,
    )


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_hidden_keys_get_no_weight_and_nothing_visible_gives_equal_weights(kind):
    attention = SoftAttention(4, 3, kind)
    hidden = torch.tensor([[False, True, False], [True, True, True]])
    _, scores = attention(torch.randn(2, 4), torch.randn(2, 3, 3), None, hidden)
    weights = scores.softmax(1)
    assert weights[0, 1] == 0
    assert torch.allclose(weights[1], torch.full((3,), 1 / 3))


def test_temperature_sharpens_the_dot_product_and_leaves_additive_attention_alone():
    query, keys = torch.randn(1, 4), torch.randn(1, 5, 3)
    for kind, factor in (("dot", 2.0), ("additive", 1.0)):
        torch.manual_seed(1)
        plain = SoftAttention(4, 3, kind)
        sharp = SoftAttention(4, 3, kind, temperature=0.5)
        sharp.load_state_dict(plain.state_dict())
        expected = plain.scores(query, keys) * factor
        assert torch.allclose(sharp.scores(query, keys), expected, atol=1e-6)


def test_hiding_leaves_gradients_alone():
    scores = torch.randn(2, 3, requires_grad=True)
    hidden = torch.tensor([[True, False, False]] * 2)
    result = hide(scores, hidden)
    assert (result[:, 0] == HIDDEN).all()
    result.sum().backward()
    assert (scores.grad == 1).all()


def test_regions_may_come_in_any_order_and_with_any_padding(model):
    torch.manual_seed(2)
    given_ = inputs()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = replace(
        given_,
        **{k: getattr(given_, k)[:, order] for k in ("regions", "boxes", "labels", "confidence")},
        hidden=given_.hidden[:, order],
    )
    target = torch.tensor([[1, 2, 3, 0]] * 3)
    plain, other = (model(model.encode(x), target) for x in (given_, shuffled))
    for name in ("log_probs", "rebuilt"):
        assert torch.allclose(getattr(plain, name), getattr(other, name), atol=1e-5)
    assert torch.allclose(plain.scores[:, :, order], other.scores, atol=1e-5)


def test_what_is_hidden_cannot_be_seen(model):
    given_ = inputs()
    changed = replace(given_, regions=torch.where(given_.hidden[..., None], 9.0, given_.regions))
    target = torch.tensor([[1, 2, 3, 0]] * 3)
    plain, other = (model(model.encode(x), target) for x in (given_, changed))
    assert torch.equal(plain.log_probs, other.log_probs)
    assert torch.equal(plain.rebuilt, other.rebuilt)


def test_a_confident_detector_decides_the_class(model):
    given_ = replace(inputs(), confidence=torch.ones(3, 4))
    scene = model.encode(given_)
    told = (given_.labels > 0) & ~given_.hidden
    assert torch.equal(scene.shares.argmax(2)[told], given_.labels[told])
    assert torch.allclose(scene.shares.sum(2), torch.ones(3, 4), atol=1e-5)
    nobody = replace(given_, labels=torch.zeros_like(given_.labels))
    assert torch.allclose(model.encode(nobody).shares, scene.class_scores.exp(), atol=1e-6)


def test_the_cycle_trains_the_localizer_and_costs_nothing_at_inference(model):
    target = torch.tensor([[1, 2, 3, 0]] * 3)
    scene = model.encode(inputs())
    assert model(scene, target, cycle=False).rebuilt is None
    trace = model(scene, target)
    caption_loss(trace.rebuilt, target).backward()
    assert model.localizer.query.weight.grad.abs().sum() > 0
    assert model.decoder.attention.query.weight.grad is None
    assert trace.localized.shape == trace.scores.shape


def test_low_scores_are_hidden_unless_the_published_behaviour_is_asked_for():
    torch.manual_seed(3)
    right, published = Captioner(VIDEO).eval(), Captioner(replace(VIDEO, hide_low_scores=False))
    published.load_state_dict(right.state_dict())
    published.eval()
    given_ = video_inputs([1, 2])
    target = torch.tensor([[1, 2, 0, 0]] * 2)
    for model, seen in ((right, False), (published, True)):
        trace = model(model.encode(given_), target, cycle=False)
        assert bool((trace.scores.softmax(2)[..., [1, 2]] > 0).all()) is seen
        assert bool((trace.scores.softmax(2)[..., [1, 2]] == 0).all()) is not seen


@pytest.mark.parametrize("recurrent", ["gru", "lstm"])
def test_frames_outside_of_the_segment_are_zero(recurrent):
    model = Captioner(replace(VIDEO, recurrent=recurrent)).eval()
    context = model.encode(video_inputs([])).context
    assert (context[0, 4:] == 0).all()
    assert (context[1, :2] == 0).all()
    assert (context[0, :4] != 0).any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=6))
def test_kept_tokens_are_the_words_and_one_end(lengths):
    if not lengths:
        return
    target = torch.zeros(len(lengths), 5, dtype=torch.long)
    for row, length in zip(target, lengths, strict=True):
        row[: min(length, 5)] = 3
    assert kept_tokens(target).sum(1).tolist() == [min(n + 1, 5) for n in lengths]


def test_losses_without_targets_are_zero():
    nothing = torch.zeros(2, 3, 4, dtype=torch.bool)
    assert attention_loss(torch.randn(2, 3, 4), nothing) == 0
    scores = torch.randn(2, 4, 6).log_softmax(2)
    assert class_loss(scores, torch.zeros(2, 5, 4, dtype=torch.long)) == 0
