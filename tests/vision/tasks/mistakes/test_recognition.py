"""MiniROAD beyond its fixtures: videos in pieces, checkpoints, losses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes.losses import anticipation_loss, nonuniform_loss
from vision.tasks.mistakes.recognition import (
    OFFICIAL,
    MiniROAD,
    RecognizerConfig,
    load_recognizer,
)

CONFIG = RecognizerConfig(
    features=6, classes=4, embed=8, hidden=5, layers=2, dropout=0, anticipation=3
)


@pytest.fixture(scope="module")
def model() -> MiniROAD:
    torch.manual_seed(0)
    return MiniROAD(CONFIG).eval()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_pieces_give_what_the_whole_gives(model, sizes):
    features = torch.randn(2, sum(sizes), 6)
    whole = model(features)
    state, logits, anticipated = None, [], []
    for piece in features.split(sizes, dim=1):
        found = model(piece, state)
        state = found.state
        logits.append(found.logits)
        anticipated.append(found.anticipated)
    torch.testing.assert_close(torch.cat(logits, 1), whole.logits)
    torch.testing.assert_close(torch.cat(anticipated, 1), whole.anticipated)
    torch.testing.assert_close(state, whole.state)


def test_later_frames_change_nothing_before_them(model):
    features = torch.randn(1, 12, 6)
    other = features.clone()
    other[:, 7:] = 100
    torch.testing.assert_close(model(features).logits[:, :7], model(other).logits[:, :7])


def test_a_published_checkpoint_loads_and_its_unused_head_is_left_out(model):
    back = {ours: theirs for theirs, ours in OFFICIAL.items()}
    published = {}
    for name, tensor in model.state_dict().items():
        start = next((part for part in back if name.startswith(part)), "")
        published[back.get(start, "") + name.removeprefix(start)] = tensor
    assert "layer1.0.weight" in published
    assert "f_classification.0.bias" in published
    published["f_actionness.0.weight"] = torch.zeros(1, 5)
    loaded = MiniROAD(CONFIG).eval()
    load_recognizer(loaded, published, "published")
    features = torch.randn(1, 4, 6)
    torch.testing.assert_close(loaded(features).logits, model(features).logits)


def test_weights_of_another_size_are_refused_by_name(model):
    with pytest.raises(FoveateError, match="'mine' do not fit"):
        load_recognizer(
            MiniROAD(RecognizerConfig(features=7, classes=4, embed=8, hidden=5)),
            model.state_dict(),
            "mine",
        )


def test_only_the_last_frame_counts_and_empty_rows_cost_nothing():
    logits = torch.randn(3, 5, 4, requires_grad=True)
    target = torch.zeros(3, 5, 4)
    target[0, -1, 1] = 1
    target[1, :-1, 2] = 1
    loss = nonuniform_loss(logits, target, "sum")
    torch.testing.assert_close(loss, -logits[0, -1].log_softmax(-1)[1])
    loss.backward()
    assert not logits.grad[:, :-1].any()
    assert not logits.grad[1:].any()


def test_two_labels_weigh_as_much_as_their_length():
    logits, target = torch.randn(1, 1, 4), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    expected = -logits[0, 0].log_softmax(-1)[:2].sum() / 2**0.5
    torch.testing.assert_close(nonuniform_loss(logits, target), expected)


def test_anticipation_compares_what_the_last_frame_says():
    anticipated = torch.randn(2, 3, 2, 4)
    target = torch.eye(4)[torch.tensor([[0, 1], [2, 3]])]
    rows = anticipated[:, -1].log_softmax(-1)
    torch.testing.assert_close(anticipation_loss(anticipated, target), -(rows * target).sum())
