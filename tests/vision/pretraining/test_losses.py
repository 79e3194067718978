"""Position and pixel losses against plain formulas."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vision.pretraining.losses import attentive_weights, patchify, pixel_loss, position_loss


def case(seed=0):
    torch.manual_seed(seed)
    return torch.randn(2, 5, 9), torch.randint(9, (2, 5)), torch.rand(2, 5)


def test_exact_targets_give_cross_entropy():
    logits, cells, weight = case()
    loss, accuracy, used = position_loss(logits, cells, weight, torch.eye(9))
    entropy = F.cross_entropy(logits.flatten(0, 1), cells.flatten(), reduction="none")
    torch.testing.assert_close(loss, (entropy * weight.flatten()).sum() / weight.sum())
    hit = (logits.argmax(-1) == cells).float()
    torch.testing.assert_close(accuracy, (hit * weight).sum() / weight.sum())
    assert torch.equal(used, weight)


@given(st.integers(0, 50))
def test_a_loss_is_a_mean_of_the_tokens_that_count(seed):
    logits, cells, weight = case(seed)
    full = position_loss(logits, cells, weight, torch.eye(9))[0]
    torch.testing.assert_close(position_loss(logits, cells, 7 * weight, torch.eye(9))[0], full)
    changed = logits.clone()
    changed[0] += torch.randn(5, 9)
    only_second = weight * torch.tensor([[0.0], [1.0]])
    first = position_loss(logits, cells, only_second, torch.eye(9))[0]
    torch.testing.assert_close(position_loss(changed, cells, only_second, torch.eye(9))[0], first)


def test_sure_tokens_are_left_out_when_asked():
    logits, cells, weight = torch.zeros(1, 2, 4), torch.tensor([[1, 2]]), torch.ones(1, 2)
    logits[0, 0, 1] = 9.0
    smoothing = torch.full((4, 4), 0.1) + 0.6 * torch.eye(4)
    _, accuracy, used = position_loss(logits, cells, weight, smoothing, conf_ignore=True)
    assert used.tolist() == [[0.0, 1.0]]
    assert accuracy == 0
    logits[0, 1, 2] = 9.0
    loss, _, used = position_loss(logits, cells, weight, smoothing, conf_ignore=True)
    assert not used.any()
    assert loss.isnan()


def test_attention_favours_what_is_like_the_whole():
    prefix = torch.tensor([[1.0, 0.0]])
    patches = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    weight = attentive_weights(prefix, patches)
    torch.testing.assert_close(weight, torch.tensor([[10.0, 0.0, -10.0]]).softmax(-1))


def test_patches_are_ordered_by_row_column_and_channel():
    images = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    patches = patchify(images, (2, 3))
    assert patches.shape == (2, 4, 18)
    torch.testing.assert_close(
        patches[1, 3].reshape(2, 3, 3), images[1, :, 2:, 3:].permute(1, 2, 0)
    )


def test_pixels_count_where_patches_are_removed():
    images = torch.randn(1, 3, 4, 4)
    target = patchify(images, (2, 2))
    removed = torch.tensor([[True, False, True, False]])
    predicted = target.clone()
    predicted[:, 1] += 100
    assert pixel_loss(predicted, images, removed, (2, 2), normalise=False) == 0
    mean, std = target.mean(-1, keepdim=True), (target.var(-1, keepdim=True) + 1e-6).sqrt()
    normal = (target - mean) / std
    assert pixel_loss(normal, images, removed, (2, 2), normalise=True) < 1e-10
