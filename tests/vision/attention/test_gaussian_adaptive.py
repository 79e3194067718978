"""Gaussian adaptive attention in all its forms: what it does, and what it does not."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import parity
from tests.test_parity import FIXTURES
from tests.vision.attention import parity as adapter
from vision.attention.gaussian_adaptive import GaussianAdaptiveAttention, GaussianBlock

FORMS: dict[str, dict[str, Any]] = {
    "product": {"axis": 1, "num_gaussians": 3},
    "mixture": {"axis": 1, "num_gaussians": 3},
    "density": {"axis": 1, "features": 6},
    "logmix": {"axis": 1, "num_gaussians": 3},
    "gate1d": {"axis": -1, "features": 9, "num_gaussians": 3},
}


def make(form: str, **options: Any) -> GaussianAdaptiveAttention:
    torch.manual_seed(0)
    module = GaussianAdaptiveAttention(form, num_heads=2, **{**FORMS[form], **options})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return module


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(1))


FIXTURES_OF_PRODUCT = [
    path
    for path in sorted(FIXTURES.glob("gaam_*.safetensors"))
    if ("product" in path.name or "block" in path.name) and "clamped" not in path.name
]


@pytest.mark.parametrize("path", FIXTURES_OF_PRODUCT, ids=lambda path: path.stem)
def test_the_closed_form_has_parity_where_nothing_is_clamped(path, monkeypatch):
    """The parity command runs the published clamp; this runs the form that everyone gets."""
    monkeypatch.setitem(adapter.PUBLISHED, "clamp", False)
    checks = parity.run(path)
    assert len(checks) >= 5
    assert not [(check.name, check.error) for check in checks if not check.passed]


def test_the_published_clamp_is_a_switch(monkeypatch):
    path = FIXTURES / "gaam_product_clamped.safetensors"
    assert all(check.passed for check in parity.run(path))
    monkeypatch.setitem(adapter.PUBLISHED, "clamp", False)
    failed = {check.name for check in parity.run(path) if not check.passed}
    assert {"y", "attention", "weight_sum"} <= failed


@pytest.mark.parametrize("form", FORMS)
def test_output_is_input_times_attention(form, x):
    module = make(form)
    attention = module.attention(x)
    expected = x * (1 + module.weigh.alpha * attention if form == "gate1d" else attention)
    torch.testing.assert_close(module(x), expected)
    if form in ("product", "mixture"):
        heads = attention.split([4, 5], 1)
        torch.testing.assert_close([h.sum(1) for h in heads], [torch.ones(3, 6)] * 2)
    if form == "density":
        assert ((attention > 0) & (attention <= 1)).all()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_everything(form, x):
    module = make(form)
    module(x.requires_grad_()).square().sum().backward()
    assert x.grad.abs().sum() > 0
    for name, parameter in module.named_parameters():
        # That bias shifts a projection whose mean is then taken away: none but for rounding.
        if name != "weigh.to_attn.bias":
            assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("form", FORMS)
def test_padding_stays_and_has_no_influence(form, x):
    module = make(form)
    mask = torch.tensor([True] * 3 + [False] + [True] * 4 + [False])[None, :, None]
    if form == "gate1d":
        mask = torch.tensor([True] * 4 + [False] * 2)[None, None]
    real = mask.expand(x.shape)
    out = module(x, mask)
    assert torch.equal(out[~real], x[~real])
    other = module(torch.where(mask, x, 100.0), mask)
    torch.testing.assert_close(other[real], out[real])
    assert not torch.allclose(out[real], module(x)[real])


@pytest.mark.parametrize("form", ["product", "mixture", "density", "logmix"])
def test_masked_rows_are_shorter_rows(form):
    x = torch.randn(2, 8, 6)
    torch.manual_seed(0)
    module = GaussianAdaptiveAttention(form, **FORMS[form])
    mask = (torch.arange(8) < 5)[None, :, None]
    torch.testing.assert_close(module(x, mask)[:, :5], module(x[:, :5]))


def test_padding_value_is_the_mask_it_stands_for(x):
    mask = torch.rand(x.shape) < 0.7
    padded = x.masked_fill(~mask, -7.0)
    module = make("product")
    expected = module(padded, mask)
    module.padding_value = -7.0
    assert torch.equal(module(padded), expected)
    first = torch.arange(x.shape[-1]) < 3  # what either says is padding
    expected = make("product")(padded, mask & first)
    assert torch.equal(module(padded, first), expected)


def test_a_mask_loses_the_same_remainder_as_what_it_masks():
    x = torch.randn(2, 5, 7)
    mask = torch.arange(7) < 4
    module = GaussianAdaptiveAttention(num_heads=2, drop_remainder=True)
    torch.testing.assert_close(module(x, mask), module(x[..., :6], mask[:6]))


def test_published_padding_depends_on_how_much_there_is(x):
    longer = torch.cat([x, torch.zeros(3, 4, 6)], 1)
    for count_padding in (False, True):
        module = GaussianAdaptiveAttention(axis=1, padding_value=0.0, count_padding=count_padding)
        assert torch.allclose(module(longer)[:, :9], module(x)) is not count_padding


@pytest.mark.parametrize("form", ["product", "mixture"])
def test_unit_mean(form, x):
    module = make(form, unit_mean=True)
    heads = module.attention(x).split([4, 5], 1)
    torch.testing.assert_close([h.mean(1) for h in heads], [torch.ones(3, 6)] * 2)
    published = make(form).attention(x)
    torch.testing.assert_close(heads[1], 5 * published[:, 4:])


def test_along_channels_nothing_passes_between_tokens(x):
    module = make("product", axis=-1)
    changed = x.clone()
    changed[:, 4] += torch.randn(6)
    same = (module(changed) == module(x)).all(-1)
    assert same[:, [0, 1, 2, 3, 5, 6, 7, 8]].all()
    assert not same[:, 4].any()


def test_along_tokens_only_mean_and_variance_pass(x):
    """Tokens swapped elsewhere in the row change nothing: no token is told from another."""
    module = GaussianAdaptiveAttention(axis=1)
    torch.testing.assert_close(module(x.flip(1)), module(x).flip(1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(form, dtype, x):
    module = make(form)
    x[0] = 3.0  # constant rows
    half = copy.deepcopy(module).to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), module(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("form", ["product", "mixture", "density", "logmix"])
def test_rows_of_one_value(form):
    module = GaussianAdaptiveAttention(form, **FORMS[form])
    x = torch.randn(2, 1, 6, requires_grad=True)
    out = module(x)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    if form in ("product", "mixture"):
        assert torch.equal(out, x)


def test_weights_of_many_wide_or_narrow_gaussians_do_not_vanish(x):
    for scale in (1e-3, 30.0):
        for form in ("product", "mixture"):
            module = GaussianAdaptiveAttention(form, axis=1, num_gaussians=16, init_scale=scale)
            torch.testing.assert_close(module.attention(x).sum(1), torch.ones(3, 6))


def test_a_negative_variance_does_not_explode(x):
    module = make("density")
    with torch.no_grad():
        module.weigh.c.fill_(-0.5)
    assert module.attention(x).max() <= 1


def test_drawn_scales_differ_and_given_ones_do_not():
    torch.manual_seed(0)
    drawn = GaussianAdaptiveAttention("mixture", num_gaussians=4, init_scale=None)
    assert drawn.weigh.c.unique().numel() == 4
    assert torch.equal(GaussianAdaptiveAttention(init_scale=0.5).weigh.c, torch.tensor([[0.5]]))


def test_block_adds_each_gate_to_its_input(x):
    block = GaussianBlock([1, 2], [2, 1], [3, 1])
    first, second = block.layers
    y = x + first(x)
    assert torch.equal(block(x), y + second(y))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(form, clone, x):
    module = make(form)
    assert torch.equal(clone(module)(x), module(x))


@pytest.mark.parametrize("form", FORMS)
def test_compile(form, x):
    module = make(form)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "gauss"}, "form must be one of product"),
        ({"num_heads": 0}, "must be positive"),
        ({"num_gaussians": 0}, "must be positive"),
        ({"form": "density", "axis": -1, "features": 3}, "must not be the last"),
        ({"form": "gate1d", "axis": 1, "features": 3}, "axis must be -1"),
        ({"form": "gate1d", "features": 3, "padding_value": 0.0}, "give a mask"),
        ({"form": "mixture", "num_gaussians": 2, "mixture_weights": [1.0]}, "must be 2 numbers"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianAdaptiveAttention(**arguments)


@pytest.mark.parametrize("form", ["product", "mixture", "logmix"])
def test_more_heads_than_places_are_named(form):
    with pytest.raises(ValueError, match="shorter than 4 heads"):
        GaussianAdaptiveAttention(form, num_heads=4)(torch.zeros(2, 3))
