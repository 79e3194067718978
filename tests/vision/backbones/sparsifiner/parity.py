"""Parity of Sparsifiner with its published code."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import BACKWARD, EXACT, FORWARD, Adapter, Check, Fixture, FixtureError, compare
from vision.attention.connectivity import Connectivity, ConnectivityPredictor
from vision.attention.sparse_connectivity import AttentionTrace, SparseAttention
from vision.backbones.sparsifiner import Sparsifiner
from vision.backbones.sparsifiner_blocks import (
    SparsifinerBlock,
    SparsifinerTrace,
    token_keep_rates,
)
from vision.backbones.sparsifiner_checkpoint import resample_pos_embed
from vision.pretraining.sparsifiner import (
    LossWeights,
    basis_l1,
    cosine_schedule,
    sparsifiner_loss,
    teach,
)

Args = dict[str, Any]
Outputs = dict[str, Any]


# --- official arguments into ours -----------------------------------------------------------


def predictor_options(args: Args, cfg: Args) -> Args:
    """Keywords of `ConnectivityPredictor`, save its sizes."""
    spar = cfg["SPAR"]
    coefficient, score = spar["BASIS_COEF"], spar["ATTN_SCORE"]
    return {
        "token_reduction": args.get("reduce_n_factor", 8),
        "channel_reduction": args.get("reduce_c_factor", 2),
        "shared_basis": args.get("share_inout_proj", False),
        "scale": args.get("qk_scale"),
        "basis_threshold": spar["BASIS_THRESHOLD"],
        "coefficient_topk": coefficient["TOPK"] if coefficient["USE_TOPK"] else None,
        "coefficient_threshold": coefficient["THRESHOLD"],
        "score_threshold": None if score["USE_TOPK"] else score["THRESHOLD"],
        "prune_rows": spar.get("PRUNE_ATTN_MATRIX_ROW", False),
    }


def reconstructs(config: Args) -> bool:
    return config["cfg"]["LOSS"]["USE_ATTN_RECON"]


def predictor(args: Args, cfg: Args) -> ConnectivityPredictor:
    return ConnectivityPredictor(
        args["dim"],
        args.get("num_heads", 8),
        args.get("num_tokens", 197),
        args.get("attn_keep_rate", 0.25),
        **predictor_options(args, cfg),
    )


def attention(args: Args, cfg: Args) -> SparseAttention:
    prunes = args.get("token_pruning_this_layer", False)
    return SparseAttention(
        args["dim"],
        args.get("num_heads", 8),
        args.get("num_tokens", 197),
        token_keep_rate=args.get("token_keep_rate", 1.0) if prunes else None,
        qkv_bias=args.get("qkv_bias", False),
        mode="published",
        predictor={
            "keep_rate": args.get("attn_keep_rate", 0.25),
            **predictor_options(args, cfg),
        },
    )


def block(args: Args, cfg: Args) -> SparsifinerBlock:
    return SparsifinerBlock(
        args["dim"],
        attention(args, cfg),
        mlp_ratio=args.get("mlp_ratio", 4.0),
        norm_eps=args.get("norm_eps", 1e-5),
        skip_scale=1 / args.get("skip_lam", 1.0),
    )


def model(args: Args, cfg: Args, lvvit: bool, **options: Any) -> Sparsifiner:
    size = args.get("img_size", 224)
    depth = args.get("depth", 12)
    places = args.get("token_pruning_loc_indicator", [False] * depth)
    return Sparsifiner(
        img_size=size if isinstance(size, int) else tuple(size),
        patch_size=args.get("patch_size", 16),
        in_chans=args.get("in_chans", 3),
        num_classes=args.get("num_classes", 1000),
        embed_dim=args.get("embed_dim", 768),
        depth=depth,
        num_heads=args.get("num_heads", 12),
        mlp_ratio=args.get("mlp_ratio", 3.0 if lvvit else 4.0),
        qkv_bias=args.get("qkv_bias", not lvvit),
        attn_keep_rate=args.get("attn_keep_rate_list", [0.25] * depth),
        token_keep_rate=args.get("token_keep_rate_list", [1.0] * depth),
        prune_at=[i for i, here in enumerate(places) if here],
        token_reduction=args.get("reduce_n_factor", 8),
        channel_reduction=args.get("reduce_c_factor", 2),
        predictor=predictor_options(args, cfg),
        conv_stem=lvvit,
        skip_scale=1 / args.get("skip_lam", 1.0),
        aux_head=lvvit and args.get("return_dense", True),
        norm_eps=args.get("norm_eps", 1e-5 if lvvit else 1e-6),
        **{"mode": "published", **options},
    )


def teacher_model(args: Args, cfg: Args, lvvit: bool) -> Sparsifiner:
    return model({**args, "token_pruning_loc_indicator": []}, cfg, lvvit, mode="dense")


# --- our outputs under official names -------------------------------------------------------


def outputs_of(connectivity: Connectivity, training: bool) -> Outputs:
    outputs = {
        "basis_coef": connectivity.coefficients,
        "approx_attn": connectivity.scores,
        "attn_mask": connectivity.mask.float(),
    }
    if not training:
        sparsity = connectivity.sparsity()
        outputs |= {f"{name}_sparsity": value for name, value in sparsity.items()}
    return outputs


def outputs_of_trace(trace: AttentionTrace, training: bool) -> Outputs:
    assert trace.connectivity is not None
    outputs = outputs_of(trace.connectivity, training)
    outputs |= {"masked_attn": trace.masked, "unmasked_attn": trace.full}
    if trace.alive is not None:
        outputs["token_mask"] = trace.alive.float()
    return outputs


def outputs_of_model(trace: SparsifinerTrace, training: bool) -> Outputs:
    outputs: Outputs = {"x": trace.logits, "features": trace.features}
    each = [outputs_of_trace(block, training) for block in trace.blocks]
    for i, block_outputs in enumerate(each):
        for name, value in block_outputs.items():
            if not name.endswith("sparsity"):
                outputs[f"{name}_list.{i}"] = value
    for name in [name for name in each[0] if name.endswith("sparsity")]:
        outputs[name] = torch.stack([block_outputs[name] for block_outputs in each]).mean()
    return outputs


# --- checks -----------------------------------------------------------------------------------


def check(fixture: Fixture) -> Iterator[Check]:
    config = fixture.config
    args, cfg, training = config["args"], config["cfg"], config["mode"] == "train"
    kind = config["module"]
    inputs = {k: v.clone() for k, v in fixture.group("input").items() if "cotangent" not in k}
    alive_name = next((k for k in inputs if k.endswith("token_mask")), None)
    alive = inputs.pop(alive_name).bool() if alive_name else None
    leaves = {k: v.requires_grad_() for k, v in inputs.items() if v.is_floating_point()}
    if kind == "MaskPredictor":
        module: nn.Module = load(predictor(args, cfg), fixture, training)
        signed = training and reconstructs(config)
        found = module(leaves["q"], leaves["k"], alive, signed)
        outputs = outputs_of(found, training)
        tokens = args["num_tokens"]
        outputs["attn_budget_before"] = ceil(args["attn_keep_rate"] * tokens)
        outputs["attn_budget_after"] = found.budget
    elif kind in ("Attention", "Block"):
        module = load((attention if kind == "Attention" else block)(args, cfg), fixture, training)
        attn = module if kind == "Attention" else module.attn
        attn.reconstruct = reconstructs(config)
        x, trace = module.trace(leaves["x"], alive)
        outputs = {"x": x, **outputs_of_trace(trace, training)}
    elif kind in ("Sparsifiner", "SparsifinerLVViT"):
        module = load(model(args, cfg, kind == "SparsifinerLVViT"), fixture, training)
        module.set_reconstruction(reconstructs(config))
        outputs = outputs_of_model(module.trace(leaves["image"]), training)
        yield from check_budgets(fixture, module, args)
    elif "Teacher" in kind:
        module = load(teacher_model(args, cfg, "LV" in kind), fixture, training)
        outputs = outputs_of_teacher(module, leaves["image"])
    else:
        raise FixtureError(f"{fixture.path}: unknown module {kind!r}")
    outputs |= buffers_after(fixture, module)
    tolerance = BACKWARD if training else FORWARD
    yield from compare(outputs, fixture.group("output"), tolerance)
    yield from gradients(fixture, leaves, dict(module.named_parameters()), outputs)


def outputs_of_teacher(module: Sparsifiner, image: Tensor) -> Outputs:
    teaching = teach(module, image)
    outputs: Outputs = {}
    for name in ("x", "cls", "logits"):
        outputs[name] = teaching.logits
    for name in ("features", "tokens", "aux"):
        outputs[name] = teaching.tokens
    for name in ("attn", "attn_list"):
        outputs |= {f"{name}.{i}": x for i, x in enumerate(teaching.attention)}
    return outputs


def check_budgets(fixture: Fixture, module: Sparsifiner, args: Args) -> Iterator[Check]:
    """Keys a query and tokens that each block keeps, by the configuration."""
    if "token_budgets" not in fixture.config:
        return
    patches = module.patch_embed.num_patches
    budgets = [ceil(rate * patches) for rate in args["token_keep_rate_list"]]
    yield Check("token_budgets", budgets, fixture.config["token_budgets"], EXACT)
    budgets = [ceil(block.attn.mask_predictor.keep_rate * (patches + 1)) for block in module.blocks]
    yield Check("attn_budgets", budgets, fixture.config["attn_budgets"], EXACT)


def load(module: nn.Module, fixture: Fixture, training: bool, group: str = "weights") -> Any:
    """Take the fixture's weights; every one must have its place."""
    module.load_state_dict(fixture.group(group))
    return module.train(training)


def buffers_after(fixture: Fixture, module: nn.Module) -> Outputs:
    """Statistics of batch norms after the run, which are recorded under `output.WORD.NAME`."""
    buffers = dict(module.named_buffers())
    names = [name for name in fixture.group("output") if name.partition(".")[2] in buffers]
    return {name: buffers[name.partition(".")[2]] for name in names}


def gradients(
    fixture: Fixture, leaves: dict[str, Tensor], weights: dict[str, Tensor], outputs: Outputs
) -> Iterator[Check]:
    """Gradients of the sum of outputs times their recorded cotangents."""
    cotangents = fixture.group("input.cotangent")
    if not cotangents:
        return
    torch.autograd.backward([outputs[k] for k in cotangents], list(cotangents.values()))
    yield from compare_gradients(fixture, {**weights, **leaves})
    for name in fixture.config.get("params_without_grad", []):
        gradient = weights[name].grad
        idle = gradient is None or not gradient.any()
        yield Check(f"no gradient: {name}", idle, True, EXACT)


def compare_gradients(fixture: Fixture, ours: dict[str, Tensor]) -> Iterator[Check]:
    for name, expected in fixture.group("grad").items():
        yield Check(f"grad.{name}", ours[name].grad, expected, BACKWARD)


LOSSES = {
    "cls": ("CLS", "USE_CLS"),
    "cls_distill": ("CLS_DISTILL", "USE_CLS_DISTILL"),
    "token_distill": ("TOKEN_DISTILL", "USE_TOKEN_DISTILL"),
    "attn_recon": ("ATTN_RECON", "USE_ATTN_RECON"),
    "attn_self_distill": ("ATTN_SELF_DISTILL", "USE_ATTN_SELF_DISTILL"),
    "least_k": ("LEAST_K", "USE_LEAST_K"),
    "ratio": ("RATIO_LOSS", "USE_RATIO_LOSS"),
}
"""Our name of a part of the loss -> its section of the official configuration, and its switch."""


def loss_weights(loss: Args) -> LossWeights:
    weights = {
        name: loss[section]["WEIGHT"] if loss[switch] else None
        for name, (section, switch) in LOSSES.items()
    }
    return LossWeights(
        **weights,
        token_criterion=loss["TOKEN_DISTILL"]["CRITERION"].lower(),
        recon_criterion=loss["ATTN_RECON"]["CRITERION"].lower(),
        budget_ratio=loss["LEAST_K"]["BUDGET_RATIO"],
        keep_ratio=loss["RATIO_LOSS"]["RATIO"],
    )


def check_loss(fixture: Fixture) -> Iterator[Check]:
    config = fixture.config
    args, cfg = config["args"], config["cfg"]
    lvvit = "LV" in config["module"]
    training = config["mode"] == "train"
    student = load(model(args, cfg, lvvit), fixture, training, "weights.student")
    student.set_reconstruction(reconstructs(config))
    teacher = load(teacher_model(args, cfg, lvvit), fixture, False, "weights.teacher")
    image = fixture.tensors["input.image"]
    trace, teaching = student.trace(image), teach(teacher, image)
    weights = loss_weights(cfg["LOSS"])
    loss, parts = sparsifiner_loss(trace, teaching, fixture.tensors["input.soft_target"], weights)
    outputs = {
        "loss": loss,
        "student.x": trace.logits,
        "student.features": trace.features,
        "teacher.cls": teaching.logits,
        "teacher.tokens": teaching.tokens,
        **{f"teacher.attn.{i}": x for i, x in enumerate(teaching.attention)},
        **{f"component.{name}_loss": value for name, value in parts.items()},
        "basis_l1": basis_l1(student),
    }
    yield from compare(outputs, fixture.group("output"), BACKWARD)
    loss.backward()
    parameters = dict(student.named_parameters())
    yield from compare_gradients(fixture, {f"student.{k}": v for k, v in parameters.items()})
    for name in config["params_with_exactly_zero_grad"]:
        gradient = parameters[name].grad
        yield Check(f"no gradient: {name}", gradient is None or not gradient.any(), True, EXACT)


def check_schedules(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cosine"]):
        args = case["args"]
        values = cosine_schedule(
            args["base_value"],
            args["final_value"],
            args["epochs"],
            args["niter_per_ep"],
            args.get("warmup_epochs", 0),
        )
        yield Check(f"cosine.{i}", values, case["values"], FORWARD)
    for i, case in enumerate(fixture.data["budgets"]):
        tokens = case["num_tokens"]
        budget = ceil(case["attn_keep_rate"] * tokens)
        yield Check(f"attn_budget.{i}", budget, case["attn_budget"], EXACT)
        left, budgets = 1.0, []
        for rate in token_keep_rates(case["token_keep_base"], (3, 6, 9), 12):
            left = rate or left
            budgets.append(ceil(left * (tokens - 1)))
        yield Check(f"token_budgets.{i}", budgets, case["token_budgets"], EXACT)
        for factor, rank in case["rank_by_reduce"].items():
            with torch.device("meta"):
                made = ConnectivityPredictor(16, 2, tokens, token_reduction=int(factor))
            yield Check(f"rank.{i}.{factor}", made.proj_n.shape[1], rank, EXACT)
    for i, case in enumerate(fixture.data["pos_embed_bicubic"]):
        grid = (case["new"], case["new"])
        resampled = resample_pos_embed(torch.tensor(case["input"]), grid)
        yield Check(f"pos_embed.{i}", resampled, torch.tensor(case["output"]), FORWARD)


PREFIXES: dict[str, Adapter] = {
    "sparsifiner_": check,
    "sparsifiner_loss_": check_loss,
    "sparsifiner_schedule_budgets": check_schedules,
}
