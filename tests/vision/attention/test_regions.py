"""Maps into regions and back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vision.attention.regions import merge_regions, pad_to, real_tokens, split_regions

sizes = st.integers(1, 4)


@given(rows=sizes, columns=sizes, height=sizes, width=sizes)
def test_merge_undoes_split(rows, columns, height, width):
    x = torch.randn(2, rows * height, columns * width, 3)
    regions = split_regions(x, height, width)
    assert regions.shape == (2, rows * columns, height * width, 3)
    assert merge_regions(regions, rows, columns, height, width).equal(x)


def test_split_is_row_major():
    x = torch.arange(24).view(1, 4, 6, 1)
    regions = split_regions(x, 2, 3)[0, ..., 0]
    assert regions.tolist() == [
        [0, 1, 2, 6, 7, 8],
        [3, 4, 5, 9, 10, 11],
        [12, 13, 14, 18, 19, 20],
        [15, 16, 17, 21, 22, 23],
    ]


def test_padding_is_zero_at_bottom_and_right():
    x = torch.ones(1, 2, 3, 1)
    padded = pad_to(x, 3, 5)
    assert padded[:, :2, :3].equal(x)
    assert padded.sum() == x.sum()
    assert pad_to(x, 2, 3) is x


@given(height=st.integers(1, 9), width=st.integers(1, 9), size=sizes)
def test_real_tokens_are_those_of_the_map(height, width, size):
    x = torch.zeros(1, height, width, 1)
    padded = (-(-height // size) * size, -(-width // size) * size)
    real = real_tokens(x, size, size, padded)
    if padded == (height, width):
        assert real is None
    else:
        ones = split_regions(pad_to(x + 1, *padded), size, size).squeeze(-1)
        assert real.equal(ones.bool())
