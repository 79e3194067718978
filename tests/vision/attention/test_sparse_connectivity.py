"""Connectivity prediction and sparse attention as modules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.attention.connectivity import ConnectivityPredictor, block_means, resample_tokens
from vision.attention.connectivity_quality import connectivity_quality, format_quality
from vision.attention.sparse_connectivity import SparseAttention

DIM, HEADS, TOKENS = 16, 2, 17


def attention(mode: str = "csr", **options) -> SparseAttention:
    torch.manual_seed(0)
    predictor = {"token_reduction": 4, "coefficient_topk": 3, **options.pop("predictor", {})}
    module = SparseAttention(DIM, HEADS, TOKENS, mode=mode, predictor=predictor, **options)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def tokens(batch: int = 2, count: int = TOKENS) -> torch.Tensor:
    return torch.randn(batch, count, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "predictor",
    [
        {},
        {"keep_rate": 0.05},
        {"keep_rate": 1.0},
        {"score_threshold": 0.1},
        {"coefficient_topk": None, "coefficient_threshold": 0.2},
        {"shared_basis": True},
    ],
)
def test_csr_computes_what_was_published(predictor):
    module, x = attention(predictor=predictor), tokens()
    with torch.inference_mode():
        published, _ = module.trace(x)
        ours, stay = module(x)
    assert stay is None
    torch.testing.assert_close(ours, published, rtol=1e-5, atol=1e-5)


def test_dropped_tokens_are_gone_and_nothing_else_changes():
    module, x = attention(token_keep_rate=0.3), tokens()
    alive = torch.rand(2, TOKENS - 1).argsort(1) < 9
    x = torch.where(torch.nn.functional.pad(alive, (1, 0), value=True)[..., None], x, 0.0)
    ids = alive.nonzero()[:, 1].view(2, 9)
    places = torch.nn.functional.pad(ids + 1, (1, 0))
    remaining = x.gather(1, places[..., None].expand(-1, -1, DIM))
    with torch.inference_mode():
        published, trace = module.trace(x, alive)
        ours, stay = module(remaining, ids)
    kept = ids.gather(1, stay)
    assert trace.alive is not None
    assert trace.alive.nonzero()[:, 1].view(2, -1).equal(kept)
    places = torch.nn.functional.pad(kept + 1, (1, 0))
    expected = published.gather(1, places[..., None].expand(-1, -1, DIM))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("query_block", "key_block"), [(4, 3), (17, 17), (1, 1)])
def test_a_block_is_scored_as_its_mean_query_and_by_the_mean_of_its_keys(query_block, key_block):
    predictor = attention(predictor={"coefficient_topk": None}).mask_predictor
    q, k = torch.randn(2, 3, HEADS, TOKENS, DIM // HEADS).unbind(0)
    matrices = predictor.matrices(None, None, None)
    scores = predictor.score(block_means(q, query_block), k, *matrices)
    torch.testing.assert_close(
        predictor.score_blocks(q, k, *matrices, query_block, key_block),
        block_means(scores.mT, key_block).mT,
    )


def test_a_small_token_mask_leaves_no_trace():
    module = attention(predictor={"keep_rate": 0.6}).mask_predictor
    q, k = torch.randn(2, 1, HEADS, TOKENS, DIM // HEADS).unbind(0)
    few = torch.zeros(1, TOKENS - 1, dtype=torch.bool)
    few[:, :3] = True
    before = module(q, k)
    assert module(q, k, few).budget == 3
    after = module(q, k)
    assert after.budget == before.budget == 11
    assert after.mask.equal(before.mask)


@pytest.mark.parametrize("mode", ["csr", "block"])
def test_the_task_reaches_the_predictor_in_training(mode):
    module, x = attention(mode, query_block=4, key_block=4).train(), tokens()
    module(x)[0].square().sum().backward()
    predictor = module.mask_predictor
    for parameter in (predictor.proj_n, predictor.proj_back_n, predictor.proj_c_q.weight):
        assert parameter.grad.abs().sum() > 0
    module.zero_grad()
    module.trace(x)[0].square().sum().backward()
    assert predictor.proj_n.grad is None or not predictor.proj_n.grad.any()


@pytest.mark.parametrize("mode", ["csr", "block"])
def test_training_computes_the_same(mode):
    module, x = attention(mode, query_block=4, key_block=4), tokens()
    torch.testing.assert_close(module(x)[0], module.train()(x)[0])


def test_all_blocks_make_dense_attention():
    x = tokens()
    module = attention("block", query_block=4, key_block=3, predictor={"keep_rate": 1.0})
    dense = attention("dense")
    dense.load_state_dict(module.state_dict(), strict=False)
    torch.testing.assert_close(module(x)[0], dense(x)[0], rtol=1e-5, atol=1e-5)


def test_blocks_of_one_are_pairs():
    """Without cutting coefficients, blocks of one query and one key are the exact choice."""
    options = {"coefficient_topk": None}
    module = attention("block", query_block=1, key_block=1, predictor=options)
    exact = attention("csr", predictor=options)
    x = tokens()
    torch.testing.assert_close(module(x)[0], exact(x)[0], rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 20), length=st.integers(1, 8))
def test_block_means(rows, length):
    x = torch.randn(2, rows, 3)
    expected = torch.stack([block.mean(1) for block in x.split(length, 1)], 1)
    torch.testing.assert_close(block_means(x, length), expected)


def test_resampling():
    matrix = torch.randn(17, 5)
    assert resample_tokens(matrix, [4, 4], [4, 4]).equal(matrix)
    larger = resample_tokens(matrix, [6, 8], [4, 4])
    assert larger.shape == (49, 5)
    assert larger[0].equal(matrix[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, "mode"),
        ({"token_keep_rate": 0.0}, "token_keep_rate"),
        ({"predictor": {"keep_rate": 1.5}}, "keep_rate"),
        ({"predictor": {"score_threshold": 0.0}}, "score_threshold"),
        ({"predictor": {"token_reduction": 18}}, "too few"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SparseAttention(DIM, HEADS, TOKENS, **options)
    with pytest.raises(ValueError, match="multiple"):
        SparseAttention(15, HEADS, TOKENS)


def test_initial_values():
    predictor = ConnectivityPredictor(384, 6)
    assert predictor.proj_n.shape == (197, 32)
    assert predictor.proj_n.std().item() == pytest.approx(0.02, rel=0.1)
    density = (predictor.basis(predictor.proj_back_n) > 0).float().mean().item()
    assert density == pytest.approx(0.32, abs=0.03)


def test_quality_of_a_known_choice():
    grid, count = (8, 8), 65
    torch.manual_seed(0)
    true = torch.randn(2, 3, count, count).mul(3).softmax(-1)
    report = connectivity_quality(true, true[:, :, 1:], grid, 0.25, query_block=4, key_block=4)
    assert report["oracle"].recall == report["predicted"].recall == 1.0
    assert report["oracle"].mass == report["predicted"].mass > 0.7
    assert report["random"].recall == pytest.approx(17 / 65, abs=0.02)
    assert report["random"].mass == pytest.approx(17 / 65, abs=0.04)
    assert report["oracle"].mass > report["oracle block"].mass > report["random block"].mass
    assert len(format_quality(report).splitlines()) == 9


def test_local_choice_covers_local_attention():
    rows = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    near = torch.nn.functional.pad(-torch.cdist(rows, rows), (1, 0, 1, 0))
    report = connectivity_quality(
        near.softmax(-1)[None, None], torch.rand(1, 1, 36, 37), (6, 6), 0.2
    )
    assert report["local"].recall > 0.85  # patches at equal distance are arbitrary
    assert report["predicted"].recall < 0.5


def test_quality_needs_shapes_that_fit():
    with pytest.raises(ValueError, match="do not fit"):
        connectivity_quality(torch.rand(1, 1, 17, 17), torch.rand(1, 1, 16, 17), (4, 5), 0.5)
