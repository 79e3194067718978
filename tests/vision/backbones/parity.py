"""Parity of bi-level routing attention and of BiFormer with the official code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from kernels.bi_level_routing import routed_attention, routed_attention_map
from tests.parity import BACKWARD, EXACT, FORWARD, Adapter, Check, Fixture, FixtureError, compare
from vision.attention.bi_level_routing import BiLevelRoutingAttention, TopKRouter
from vision.attention.lepe import FullAttention
from vision.attention.regions import merge_regions, pad_to, split_regions
from vision.backbones.biformer import BiFormer
from vision.backbones.biformer_blocks import Block, ConvMixer
from vision.backbones.biformer_checkpoint import translate

Args = dict[str, Any]
Outputs = dict[str, Tensor]
NCHW_FORM: Args = {"rounding": "down", "padding": "zero"}


class NCHW(nn.Module):
    """Run an NHWC module on NCHW maps."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# --- official arguments into ours -----------------------------------------------------------


def routing_options(args: Args) -> Args:
    """Options of the NHWC attention, save `n_win`, `topk` and `num_heads`."""
    mode = args.get("kv_downsample_mode", "identity")
    size = args.get("kv_per_win" if mode.startswith("ada") else "kv_downsample_ratio", 4)
    return {
        "qk_dim": args.get("qk_dim"),
        "scale": args.get("qk_scale"),
        "soft_routing": args.get("soft_routing", False),
        "diff_routing": args.get("diff_routing", False),
        "param_routing": args.get("param_routing", False),
        # A pooling window of one changes nothing; the official code leaves it out as well.
        "kv_pool": "identity" if mode in ("avgpool", "maxpool") and size == 1 else mode,
        "kv_size": size,
        "proj": args.get("param_attention", "qkvo") == "qkvo",
    }


def bra_nhwc(args: Args) -> BiLevelRoutingAttention:
    return BiLevelRoutingAttention(
        args["dim"],
        args.get("num_heads", 8),
        args.get("topk", 4),
        args.get("n_win", 7),
        lepe_kernel=args.get("side_dwconv", 3),
        **routing_options(args),
    )


def bra_nchw(args: Args) -> BiLevelRoutingAttention:
    return BiLevelRoutingAttention(
        args["dim"],
        args.get("num_heads", 8),
        args.get("topk", 4),
        args.get("n_win", 7),
        scale=args.get("qk_scale"),
        lepe_kernel=args.get("side_dwconv", 3),
        **NCHW_FORM,
    )


def full_attention(args: Args, **options: Any) -> FullAttention:
    options = {
        "lepe_kernel": args.get("side_dwconv", 5),
        "scale": args.get("qk_scale"),
        "qkv_bias": args.get("qkv_bias", False),
        **options,
    }
    return FullAttention(args["dim"], args.get("num_heads", 8), **options)


def mixer(args: Args, *, nchw: bool = False) -> nn.Module:
    """Token mixer of an official block; its full attention has 8 heads and no other options."""
    topk = args.get("topk", 4)
    args = {"side_dwconv": 5, **args}
    if topk > 0:
        return bra_nchw(args) if nchw else bra_nhwc(args)
    if topk == 0:
        return ConvMixer(args["dim"])
    args = {"dim": args["dim"], "side_dwconv": args["side_dwconv"]}
    if nchw:
        return full_attention(args, lepe_on="value")
    return full_attention(args) if topk == -2 else full_attention(args, lepe_kernel=0)


def block(args: Args) -> Block:
    scale = args.get("layer_scale_init_value", -1)
    return Block(
        args["dim"],
        mixer({"kv_downsample_mode": "ada_avgpool", **args}),
        mlp_ratio=args.get("mlp_ratio", 4),
        mlp_dwconv=args.get("mlp_dwconv", False),
        pos_conv=args.get("before_attn_dwconv", 3) > 0,
        pre_norm=args.get("pre_norm", True),
        layer_scale=scale if scale > 0 else None,
        drop_path=args.get("drop_path", 0.0),
    )


def stl_block(args: Args, *, nchw: bool = False) -> Block:
    return Block(
        args["dim"],
        mixer(args, nchw=nchw),
        mlp_ratio=args.get("mlp_ratio", 4),
        pos_conv=False,
        drop_path=args.get("drop_path", 0.0),
    )


def shared_model_options(args: Args, mixers: dict[int, str], qk_dims: list[int]) -> Args:
    """Options that both official models have; full attention always has 8 heads."""
    topks = args["topks"]
    heads = [dim // args["head_dim"] for dim in qk_dims]
    return {
        "in_chans": args.get("in_chans", 3),
        "num_classes": args.get("num_classes", 1000),
        "depths": args["depth"],
        "embed_dims": args["embed_dim"],
        "mixers": [k if k > 0 else mixers[k] for k in topks],
        "num_heads": [h if k > 0 else 8 for h, k in zip(heads, topks, strict=True)],
        "mlp_ratio": args.get("mlp_ratios", [4] * len(topks)),
        "lepe_kernel": args.get("side_dwconv", 5),
        "drop_path_rate": args.get("drop_path_rate", 0.0),
    }


def biformer(args: Args, **options: Any) -> BiFormer:
    args = {
        "depth": [3, 4, 8, 3],
        "embed_dim": [64, 128, 320, 512],
        "head_dim": 64,
        "topks": [8, 8, -1, -1],
        "kv_downsample_mode": "ada_avgpool",
        "kv_per_wins": [2, 2, -1, -1],
        "kv_downsample_ratios": [4, 2, 1, 1],
        **args,
    }
    qk_dims = args.get("qk_dims") or args["embed_dim"]
    scale = args.get("layer_scale_init_value", -1)
    per_stage = zip(qk_dims, args["kv_per_wins"], args["kv_downsample_ratios"], strict=True)
    return BiFormer(
        **shared_model_options(args, {-2: "lepe", -1: "full", 0: "conv"}, qk_dims),
        regions=args.get("n_win", 7),
        routing=[
            routing_options(
                {**args, "qk_dim": dim, "kv_per_win": size, "kv_downsample_ratio": ratio}
            )
            for dim, size, ratio in per_stage
        ],
        mlp_dwconv=args.get("mlp_dwconv", False),
        pos_conv=args.get("before_attn_dwconv", 3) > 0,
        pre_norm=args.get("pre_norm", True),
        layer_scale=scale if scale > 0 else None,
        **options,
    )


def biformer_stl(args: Args, *, nchw: bool = False) -> BiFormer:
    args = {
        "depth": [2, 2, 6, 2],
        "embed_dim": [96, 192, 384, 768],
        "head_dim": 32,
        "topks": [1, 4, 16, -1 if nchw else -2],
        **args,
    }
    mixers = {-1: "lepe", 0: "conv"} if nchw else {-2: "lepe", -1: "full", 0: "conv"}
    norms = {"BatchNorm2d": nn.BatchNorm2d, "LayerNorm2d": LayerNorm2d}
    return BiFormer(
        **shared_model_options(args, mixers, args["embed_dim"]),
        regions=args.get("n_wins", 7),
        routing={"scale": args.get("qk_scale"), **(NCHW_FORM if nchw else {})},
        lepe_on="value" if nchw else "input",
        pos_conv=False,
        stem="patch",
        norm_layer=norms[args.get("norm_layer", "LayerNorm2d")],
    )


# --- runs: inputs into named outputs, the first of which takes the cotangent -----------------


def run_map(module: nn.Module, inputs: Outputs) -> Outputs:
    return {"y": module(inputs["x"])}


def run_bra_nhwc(module: nn.Module, inputs: Outputs) -> Outputs:
    maps = module.attention_maps(inputs["x"])
    return {
        "y": module(inputs["x"]),
        "route_weight": maps.weight,
        "attn": maps.attention.flatten(0, 1),
    }


def run_bra_nchw(module: nn.Module, inputs: Outputs) -> Outputs:
    maps = module.body.attention_maps(inputs["x"].permute(0, 2, 3, 1))
    return {"y": module(inputs["x"]), "attn": maps.attention.transpose(1, 2)}


def run_router(module: nn.Module, inputs: Outputs) -> Outputs:
    _, weight = module(inputs["q"], inputs["k"])
    return {"route_weight": weight}


def run_model(module: nn.Module, inputs: Outputs) -> Outputs:
    final, maps = module.forward_intermediates(inputs["x"])
    return {
        "logits": module.forward_head(final),
        **{f"stage{i}": x for i, x in enumerate(maps)},
        **{f"buffer_after.{name}": buffer for name, buffer in module.named_buffers()},
    }


def run_dense(module: nn.Module, inputs: Outputs) -> Outputs:
    maps = module.forward_intermediates(inputs["x"], norm=True, intermediates_only=True)
    return {f"f{i}": x for i, x in enumerate(maps)}


class RegionalRouting(nn.Module):
    """The official function for attention along a given graph, its arguments as ours."""

    def __init__(self, args: Args) -> None:
        super().__init__()
        self.scale = args["scale"]
        self.heads = args.get("heads")
        self.query_size = args["region_size"]
        self.key_size = args.get("kv_region_size") or args["region_size"]

    def forward(self, query: Tensor, key: Tensor, value: Tensor, graph: Tensor) -> list[Tensor]:
        """Output (B, C, H, W) and probabilities (B, heads, Pq, Lq, k * Lk)."""
        q, k, v = (
            self.split(x, size)
            for x, size in ((query, self.query_size), (key, self.key_size), (value, self.key_size))
        )
        heads = self.heads or graph.shape[1]
        out = routed_attention(q, k, v, graph, heads=heads, scale=self.scale)
        attention = routed_attention_map(q, k, graph, heads=heads, scale=self.scale)
        height, width = query.shape[2:]
        rows, columns = (-(-n // m) for n, m in zip((height, width), self.query_size, strict=True))
        out = merge_regions(out, rows, columns, *self.query_size)[:, :height, :width]
        return [out.permute(0, 3, 1, 2), attention.transpose(1, 2)]

    @staticmethod
    def split(x: Tensor, size: list[int]) -> Tensor:
        """Pad (B, C, H, W) with zeros to whole regions and split it."""
        height, width = (-(-n // m) * m for n, m in zip(x.shape[2:], size, strict=True))
        return split_regions(pad_to(x.permute(0, 2, 3, 1), height, width), *size)


def run_regional(module: nn.Module, inputs: Outputs) -> Outputs:
    y, attention = module(*(inputs[name] for name in ("query", "key", "value", "graph")))
    return {"y": y, "attn": attention}


Build = Callable[[Args], nn.Module]
Run = Callable[[nn.Module, Outputs], Outputs]

KINDS: dict[str, tuple[Build, Run]] = {
    "BiLevelRoutingAttention": (bra_nhwc, run_bra_nhwc),
    "nchwBRA": (lambda a: NCHW(bra_nchw(a)), run_bra_nchw),
    "TopkRouting": (
        lambda a: TopKRouter(
            a["qk_dim"],
            a.get("topk", 4),
            scale=a.get("qk_scale"),
            learned=a.get("param_routing", False),
            differentiable=a.get("diff_routing", False),
        ),
        run_router,
    ),
    "regional_routing_attention_torch": (RegionalRouting, run_regional),
    "Attention": (lambda a: full_attention(a, lepe_kernel=0), run_map),
    "AttentionLePE": (full_attention, run_map),
    "nchwAttentionLePE": (lambda a: NCHW(full_attention(a, lepe_on="value")), run_map),
    "biformer.Block": (lambda a: NCHW(block(a)), run_map),
    "biformer_stl.BiFormerBlock": (stl_block, run_map),
    "biformer_stl_nchw.BiFormerBlock": (lambda a: NCHW(stl_block(a, nchw=True)), run_map),
    "BiFormer": (biformer, run_model),
    "BiFormerSTL": (biformer_stl, run_model),
    "nchwBiFormerSTL": (lambda a: biformer_stl(a, nchw=True), run_model),
    "BiFormer_mm": (lambda a: biformer(a, feature_norms=True), run_dense),
}
"""How to build and run what a fixture's `kind` ends in."""


def lookup(fixture: Fixture) -> tuple[Build, Run]:
    kind = str(fixture.config.get("kind"))
    parts = kind.replace("/", ".").split(".")
    for name in (parts[-1], ".".join(parts[-2:])):
        if name in KINDS:
            return KINDS[name]
    raise FixtureError(f"{fixture.path}: unknown kind {kind!r}")


def load_weights(module: nn.Module, weights: Outputs) -> None:
    """Load official weights; only what the dense backbone has not, head and norm, may lack."""
    body = module.body if isinstance(module, NCHW) else module
    result = body.load_state_dict(translate(weights), strict=False)
    missing = [k for k in result.missing_keys if not k.startswith(("head.", "norm."))]
    if missing or result.unexpected_keys:
        raise FixtureError(f"weights do not fit: {missing}, {result.unexpected_keys}")


def check(fixture: Fixture) -> Iterator[Check]:
    """Outputs, routing and gradients of one module or model."""
    build, run = lookup(fixture)
    config = fixture.config
    training = config.get("mode") == "train"
    module = build(config["args"])
    load_weights(module, fixture.group("weights"))
    module.train(training)

    routes: list[Tensor] = []
    inputs = fixture.group("input")
    for name, tensor in inputs.items():
        tensor.requires_grad_(f"grad.input.{name}" in fixture.tensors)
    for part in module.modules():
        if isinstance(part, TopKRouter):
            part.register_forward_hook(lambda _, __, result: routes.append(result[0]))
    outputs = run(module, inputs)

    tolerance = BACKWARD if training else FORWARD
    expected = fixture.group("output")
    recorded_routes = {k: v for k, v in expected.items() if k.startswith("route_idx.")}
    yield from compare(
        outputs,
        translated_buffers({k: v for k, v in expected.items() if k not in recorded_routes}),
        tolerance,
    )
    if (config.get("tie_margin") or {}).get("set") != 0:
        yield from compare({f"route_idx.{i}": x for i, x in enumerate(routes)}, recorded_routes)
    yield from gradients(fixture, module, inputs, outputs)


def translated_buffers(expected: Outputs) -> Outputs:
    buffers = {k: v for k, v in expected.items() if k.startswith("buffer_after.")}
    rest = {k: v for k, v in expected.items() if k not in buffers}
    named = translate({k.removeprefix("buffer_after."): v for k, v in buffers.items()})
    return {**rest, **{f"buffer_after.{k}": v for k, v in named.items()}}


def gradients(
    fixture: Fixture, module: nn.Module, inputs: Outputs, outputs: Outputs
) -> Iterator[Check]:
    """Gradients of the sum of outputs times their recorded cotangents."""
    cotangents = {k: v for k, v in fixture.group("input").items() if k.startswith("cotangent")}
    if not cotangents:
        return
    first = next(iter(outputs))
    targets = [outputs[k.removeprefix("cotangent").lstrip(".") or first] for k in cotangents]
    torch.autograd.backward(targets, list(cotangents.values()))
    body = module.body if isinstance(module, NCHW) else module
    ours = {f"grad.input.{k}": v.grad for k, v in inputs.items()}
    ours |= {f"grad.weights.{k}": v.grad for k, v in body.named_parameters()}
    theirs = {f"grad.input.{k}": v for k, v in fixture.group("grad.input").items()}
    weights = translate(fixture.group("grad.weights"))
    theirs |= {f"grad.weights.{k}": v for k, v in weights.items()}
    # A bias in front of a batch norm has no gradient: what is recorded is rounding of the others.
    largest = max((float(x.abs().max()) for x in theirs.values()), default=0.0)
    for name, gradient in theirs.items():
        vanishes = float(gradient.abs().max()) < 1e-6 * largest
        yield Check(name, ours.get(name), gradient, BACKWARD, largest if vanishes else 0.0)


def check_layouts(fixture: Fixture) -> Iterator[Check]:
    """Parameter counts and the names and shapes of all weights of the published models."""
    for name, layout in fixture.data["models"].items():
        with torch.device("meta"):
            model = timm.create_model(name)
            weights = {key: torch.empty(shape) for key, shape in layout["keys"].items()}
        count = sum(p.numel() for p in model.parameters())
        yield Check(f"{name}: parameters", count, layout["params"], EXACT)
        yield Check(
            f"{name}: state dict",
            {k: list(v.shape) for k, v in model.state_dict().items()},
            {k: list(v.shape) for k, v in translate(weights).items()},
            EXACT,
        )


PREFIXES: dict[str, Adapter] = {
    "biformer_": check,
    "biformer_state_dict_layouts": check_layouts,
}
