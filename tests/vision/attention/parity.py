"""Parity of Gaussian adaptive attention, all its published forms, and of what stood beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import BACKWARD, FORWARD, Adapter, Check, Fixture, FixtureError, compare
from vision.attention.gaussian_adaptive import GaussianAdaptiveAttention, GaussianBlock
from vision.attention.grouped_query import GroupedQueryAttention
from vision.attention.importance import ImportanceFactor

Args = dict[str, Any]
Tensors = dict[str, Tensor]

PUBLISHED: Args = {"count_padding": True, "clamp": True}


def product(args: Args) -> GaussianAdaptiveAttention:
    return GaussianAdaptiveAttention(
        "product",
        args["norm_axis"],
        args.get("num_heads", 1),
        num_gaussians=args["num_gaussians"],
        padding_value=args.get("padding_value"),
        eps=args.get("eps", 1e-8),
        **PUBLISHED,
    )


def multi_head_product(args: Args) -> GaussianAdaptiveAttention:
    """The official heads never get the `eps` that is given: it lands in another argument."""
    return product({**args, "eps": 1e-8})


def block(args: Args) -> GaussianBlock:
    return GaussianBlock(
        args["norm_axes"],
        args["num_heads"],
        args["num_gaussians"],
        padding_value=args.get("padding_value"),
        **PUBLISHED,
    )


def mixture(args: Args) -> GaussianAdaptiveAttention:
    weights = args.get("learnable_weights", True)
    return GaussianAdaptiveAttention(
        "mixture",
        args["norm_axis"],
        args.get("num_heads", 1),
        num_gaussians=args["num_gaussians"],
        padding_value=args.get("padding_value"),
        eps=args.get("eps", 1e-8),
        mixture_weights=None if weights is True else weights,
        drop_remainder=True,
        **PUBLISHED,
    )


def density(args: Args) -> GaussianAdaptiveAttention:
    return GaussianAdaptiveAttention(
        "density",
        -2,
        args.get("num_heads", 8),
        features=args["feature_size"],
        eps=args.get("eps", 1e-5),
    )


def logmix(args: Args) -> GaussianAdaptiveAttention:
    """The official module stores `num_heads` and has one head."""
    axis, number = args.get("norm_axis", 1), args.get("num_gaussians", 4)
    return GaussianAdaptiveAttention("logmix", axis, num_gaussians=number)


def gate1d(args: Args) -> GaussianAdaptiveAttention:
    return GaussianAdaptiveAttention(
        "gate1d", features=args["in_ch"], num_gaussians=args.get("num_gaussians", 4)
    )


def grouped_query(args: Args) -> GroupedQueryAttention:
    return GroupedQueryAttention(
        args["embed_dim"],
        args["query_heads"],
        args["kv_heads"],
        causal=args.get("is_causal", False),
        norm=args.get("layer_norm", True),
        sum_groups=True,
        scale_twice=True,
    )


def run_gate(module: GaussianAdaptiveAttention, x: Tensor) -> Tensors:
    attention = module.attention(x)
    return {"y": module(x), "attention": attention, "weight_sum": attention.sum(module.axis)}


def run_block(module: GaussianBlock, x: Tensor) -> Tensors:
    outputs = {"y": module(x)}
    for i, layer in enumerate(module.layers):
        outputs[f"attention.layer_{i}"] = layer.attention(x)
        x = layer(x) + x
    return outputs


def run_grouped_query(module: GroupedQueryAttention, x: Tensor) -> Tensors:
    return {"y": module(x), "attention": module.attention(x).permute(0, 2, 3, 1)}


def translate(names: Tensors) -> Tensors:
    """Official parameters by our names: those of all heads in one tensor, under `weigh`."""
    heads: dict[str, list[tuple[int, Tensor]]] = {}
    for name, value in names.items():
        *front, last = name.split(".")
        if front and front[-1] in ("q_proj", "k_proj", "v_proj", "out_proj", "norm", "to_attn"):
            heads[name if front[-1] != "to_attn" else f"weigh.{name}"] = [(-1, value)]
            continue
        head = int(front[-1]) if front and front[-1].isdigit() else 0
        layer = ".".join(front[:2]) + "." if front and front[0] == "layers" else ""
        inner = "gaa." if front[:1] == ["gaa"] else ""
        scalar = last == "alpha"
        value = value.squeeze(0) if value.dim() == 2 else value
        heads.setdefault(f"{layer}weigh.{inner}{last}", []).append((-1 if scalar else head, value))
    return {
        name: values[0][1]
        if values[0][0] < 0
        else torch.stack([value for _, value in sorted(values, key=lambda pair: pair[0])])
        for name, values in heads.items()
    }


Build = Callable[[Args], nn.Module]
Run = Callable[[Any, Tensor], Tensors]

KINDS: dict[str, tuple[Build, Run]] = {
    "GaussianAdaptiveAttention": (product, run_gate),
    "MultiHeadGaussianAdaptiveAttention": (multi_head_product, run_gate),
    "GaussianBlock": (block, run_block),
    "GaussianAdaptiveAttention (additive mixture)": (mixture, run_gate),
    "MultiHeadGaussianAdaptiveAttention (additive mixture)": (mixture, run_gate),
    "MultiHeadDAAM": (density, run_gate),
    "GaussianAdaptiveAttention (log-mean-exp mixture)": (logmix, run_gate),
    "GAttnGateG": (gate1d, run_gate),
    "MultiheadGQA": (grouped_query, run_grouped_query),
    "MultiheadGQA (self-attention use)": (grouped_query, run_grouped_query),
}
"""How to build and run what a fixture's `module` names."""


def check(fixture: Fixture) -> Iterator[Check]:
    """Outputs, attention and gradients of one module."""
    kind = fixture.config.get("module")
    if kind not in KINDS:
        raise FixtureError(f"{fixture.path}: unknown kind {kind!r}")
    build, run = KINDS[kind]
    module = build(fixture.config["args"])
    module.load_state_dict(translate(fixture.group("weights")))
    x = fixture.tensors["input.x"].requires_grad_()
    outputs = run(module, x)
    yield from compare(outputs, fixture.group("output"), FORWARD)
    (outputs["y"] * fixture.tensors["input.cotangent.y"]).sum().backward()
    expected = fixture.group("grad")
    yield Check("grad.x", x.grad, expected.pop("x"), BACKWARD)
    ours = {name: p.grad for name, p in module.named_parameters()}
    theirs = translate(expected)
    largest = max((float(g.abs().max()) for g in theirs.values()), default=0.0)
    for name, gradient in theirs.items():
        vanishes = float(gradient.abs().max()) < 1e-6 * largest
        yield Check(
            f"grad.{name}", ours.get(name), gradient, BACKWARD, largest if vanishes else 0.0
        )


def check_importance(fixture: Fixture) -> Iterator[Check]:
    """The Importance Factor of recorded maps."""
    factor = ImportanceFactor.from_maps([torch.tensor(fixture.data["maps"])])
    yield Check("importance_factor", factor.values, fixture.data["importance_factor"], FORWARD)


PREFIXES: dict[str, Adapter] = {"gaam_": check, "gaam_importance_factor": check_importance}
