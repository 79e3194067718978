"""Parity of DropPos with the published code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tests.parity import BACKWARD, EXACT, Adapter, Check, Fixture, FixtureError, compare
from vision.optim import OptimConfig, clip_each, optimizer
from vision.pretraining.checkpoint import load_encoder, translate
from vision.pretraining.droppos import DropPos
from vision.pretraining.losses import position_loss
from vision.pretraining.positions import random_masking, sincos_position_embedding, smoothing_map
from vision.pretraining.pretext import DropPosConfig, DropPosOutput, Noise

Args = dict[str, Any]


def vit(args: Args, **options: Any) -> VisionTransformer:
    """The encoder of published arguments; its norms have MAE's epsilon unless they say."""
    stated = re.search(r"eps=([\d.e-]+)", args.get("norm_layer", ""))
    eps = float(stated[1]) if stated else 1e-6
    return VisionTransformer(
        img_size=args.get("img_size", 224),
        patch_size=args.get("patch_size", 16),
        in_chans=args.get("in_chans", 3),
        embed_dim=args.get("embed_dim", 1024),
        depth=args.get("depth", 24),
        num_heads=args.get("num_heads", 16),
        mlp_ratio=args.get("mlp_ratio", 4.0),
        norm_layer=partial(nn.LayerNorm, eps=eps),
        **{"num_classes": 0, "fc_norm": False, **options},
    )


def droppos(config: Args) -> DropPos:
    args = config["ctor"]
    settings = DropPosConfig(
        mask_ratio=config["mask_ratio"],
        pos_mask_ratio=config["pos_mask_ratio"],
        decoder_dim=args.get("decoder_embed_dim", 512),
        decoder_depth=args.get("decoder_depth", 8),
        decoder_heads=args.get("decoder_num_heads", 16),
        mlp_ratio=args.get("mlp_ratio", 4.0),
        mask_token_type=args.get("mask_token_type", "param"),
        shuffle=args.get("shuffle", False),
        attn_guide=args.get("attn_guide", False),
        conf_ignore=args.get("conf_ignore", False),
        multi_task=args.get("multi_task", False),
        norm_pix_loss=args.get("norm_pix_loss", True),
        pos_weight=config.get("pos_weight", 1.0),
        official=True,
    )
    return DropPos(vit(args), settings)


def load_weights(model: DropPos, weights: dict[str, Tensor]) -> None:
    model.load_state_dict({translate(name): tensor for name, tensor in weights.items()})


def noise(inputs: dict[str, Tensor]) -> Noise:
    return Noise(
        inputs["noise_patch"],
        inputs["noise_pos"],
        inputs.get("noise_shuffle"),
        inputs.get("wrong_pos_perm"),
    )


def outputs(found: DropPosOutput, inputs: dict[str, Tensor]) -> dict[str, Any]:
    shuffle = inputs.get("noise_shuffle")
    return {
        "mask": found.patches.removed,
        "ids_keep": found.patches.keep,
        "ids_restore": found.patches.restore,
        "mask_pos": found.positions.removed,
        "ids_keep_pos": found.positions.keep,
        "ids_restore_pos": found.positions.restore,
        "ids_restore_shuffle": None if shuffle is None else shuffle.argsort(1).argsort(1),
        "encoded": found.encoded,
        "pred_pos": found.logits,
        "loss_pos": found.loss_pos,
        "acc1": found.accuracy,
        "attn": found.attention,
        "attn_full": found.attention_full,
        "pred_pix": found.pixels,
        "loss_mae": found.loss_pix,
        "loss_total": found.loss,
    }


def check_model(fixture: Fixture) -> Iterator[Check]:
    """A forward pass, and the gradients of its loss."""
    model = droppos(fixture.config)
    load_weights(model, fixture.group("weights"))
    inputs = fixture.group("input")
    inputs["imgs"].requires_grad_("grad.input.imgs" in fixture.tensors)
    found = model(inputs["imgs"], inputs["smooth"], noise(inputs))
    yield from compare(outputs(found, inputs), fixture.group("output"))
    recorded = fixture.group("grad")
    if not recorded:
        return
    found.loss.backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours["input.imgs"] = inputs["imgs"].grad
    # Gradients that are zero but for rounding, such as those of key biases, relate to the others.
    largest = max(float(g.abs().max()) for g in recorded.values())
    for name, gradient in recorded.items():
        own = ours.get(name if name.startswith("input.") else translate(name))
        vanishes = float(gradient.abs().max()) < 1e-6 * largest
        yield Check(f"grad.{name}", own, gradient, BACKWARD, largest if vanishes else 0.0)


def check_vit(fixture: Fixture) -> Iterator[Check]:
    """A plain vision transformer with a converted checkpoint."""
    args = fixture.config
    pool = "avg" if args["global_pool"] else "token"
    model = vit(
        args,
        num_classes=args["num_classes"],
        global_pool=pool,
        fc_norm=None,
    ).eval()
    load_encoder(model, fixture.group("weights.pretrain"))
    rest = fixture.group("weights.finetune")
    yield Check("pos_embed", model.pos_embed, rest.pop("pos_embed", None))
    model.load_state_dict(rest, strict=False)
    x = model.forward_features(fixture.tensors["input.imgs"])
    found = {
        "features": model.forward_head(x, pre_logits=True),
        "logits": model.forward_head(x),
    }
    yield from compare(found, fixture.group("output"))


def check_trajectory(fixture: Fixture) -> Iterator[Check]:
    """Optimiser steps, one an epoch: losses, accuracies and the weights at the end."""
    config = fixture.config
    count = len({name.split(".")[0] for name in fixture.group("input")})
    model = droppos(config)
    load_weights(model, fixture.group("weights"))
    settings = OptimConfig(
        steps=count,
        lr=2e-3,
        weight_decay=0.05,
        warmup=1,
        betas=(0.9, 0.95),
        shape="cosine",
    )
    parts: Any = optimizer(model, settings, lambda _: False)
    adamw, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    found: dict[str, list[float]] = {"losses": [], "acc1": [], "lr": [], "sigma": []}
    for step in range(count):
        inputs = fixture.group(f"input.{step}")
        sigma = 1 - step / count
        target = smoothing_map(model.grid, sigma, official=True)
        output = model(inputs["imgs"], target, noise(inputs))
        adamw.zero_grad()
        output.loss.backward()
        clip_each(model.parameters(), 0.02)
        values = output.loss_pos, output.accuracy, adamw.param_groups[0]["lr"], sigma
        for name, value in zip(found, values, strict=True):
            found[name].append(float(torch.as_tensor(value).detach()))
        adamw.step()
        scheduler.step()
    recorded = fixture.group("output")
    final = {n.removeprefix("final."): t for n, t in recorded.items() if n.startswith("final.")}
    yield from compare(found, {n: t for n, t in recorded.items() if not n.startswith("final.")})
    ours = model.state_dict()
    for name, tensor in final.items():
        own = ours[translate(name)]
        if name.endswith("qkv.bias"):
            # Keys' biases have no gradient; Adam makes steps of its rounding.
            own, tensor = (x.reshape(3, -1)[[0, 2]] for x in (own, tensor))
        yield Check(f"final.{name}", own, tensor, BACKWARD)


def check_masking(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.config["cases"]):
        found = random_masking(fixture.tensors[f"input.{i}.noise"], case["ratio"])
        ours = {
            "ids_keep": found.keep,
            "ids_remove": found.restore.argsort(1)[:, found.keep.shape[1] :],
            "ids_restore": found.restore,
            "mask": found.removed,
        }
        for check in compare(ours, fixture.group(f"output.{i}")):
            yield Check(f"{i}.{check.name}", check.actual, check.expected, EXACT)


def check_loss(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.config["cases"]):
        inputs = fixture.group(f"input.{i}")
        logits = inputs["pred"].requires_grad_()
        weight = inputs["mask_pos"] * inputs.get("attn", torch.tensor(1.0))
        loss, accuracy, _ = position_loss(
            logits, inputs["ids_keep"], weight, inputs["smooth"], conf_ignore=case["conf"]
        )
        loss.backward()
        found = {f"{i}.loss": loss, f"{i}.acc1": accuracy}
        recorded = {f"{i}.{n}": t for n, t in fixture.group(f"output.{i}").items()}
        yield from compare(found, recorded)
        yield Check(f"grad.{i}.pred", logits.grad, fixture.tensors[f"grad.{i}.pred"], BACKWARD)


def check_smoothing(fixture: Fixture) -> Iterator[Check]:
    for name, expected in fixture.group("output").items():
        count, sigma = name.removeprefix("n").split("_sigma")
        side = round(int(count) ** 0.5)
        ours = smoothing_map((side, side), float(sigma), official=True)
        if len(expected) != len(ours):
            ours = ours[[0, 13, 105, 195]]
        yield Check(name, ours, expected)


def check_sincos(fixture: Fixture) -> Iterator[Check]:
    for name, expected in fixture.group("output").items():
        dim, side, prefix = (int(part.lstrip("dgcls")) for part in name.split("_"))
        table = sincos_position_embedding((side, side), dim)
        yield Check(name, torch.cat([torch.zeros(prefix, dim), table]), expected)


KINDS: dict[str, Adapter] = {
    "DropPositionMaskedAutoEncoderViT": check_model,
    "models_vit.VisionTransformer": check_vit,
    "training steps": check_trajectory,
    "random_masking": check_masking,
    "forward_drop_pos_loss": check_loss,
    "_get_label_smoothing_map": check_smoothing,
    "get_2d_sincos_pos_embed": check_sincos,
}


def check(fixture: Fixture) -> Iterator[Check]:
    """All that a fixture records, by the beginning of its `module`."""
    module = str(fixture.config.get("module"))
    for kind, adapter in KINDS.items():
        if module.startswith(kind):
            return adapter(fixture)
    raise FixtureError(f"{fixture.path}: unknown module {module!r}")


PREFIXES: dict[str, Adapter] = {"droppos_": check}
