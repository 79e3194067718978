"""Parity of the localization models, targets and losses with the published implementations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import BACKWARD, Adapter, Check, Fixture, FixtureError, compare
from vision.tasks.localization.anchor_free import AnchorFree, AnchorFreeConfig
from vision.tasks.localization.bmn import BMN, BMNConfig, BMNOutput
from vision.tasks.localization.bmn_checkpoint import translate
from vision.tasks.localization.bmn_losses import (
    MMACTION2,
    OPENTAD,
    USUAL,
    Draws,
    bmn_losses,
)
from vision.tasks.localization.bmn_targets import (
    CENTRED,
    STEP,
    WIDE,
    boundary_targets,
    iou_targets,
    to_steps,
)
from vision.tasks.localization.graph import GCNeXt, nearest
from vision.tasks.localization.matching import ProposalMap, dense_mask
from vision.tasks.localization.points import (
    PointLossConfig,
    decode,
    level_points,
    point_losses,
    point_targets,
)
from vision.tasks.localization.suppression import batched_nms

Args = dict[str, Any]
Outputs = dict[str, Tensor]


def check_mask(fixture: Fixture) -> Iterator[Check]:
    """The sampling of proposals as one matrix."""
    c = fixture.config
    cells = ProposalMap(c["T"], "start_end")
    mask = dense_mask(cells, c["num_sample"], c["num_sample_perbin"], c["ratio"])
    yield from compare({"sample_mask": mask.flatten(1)}, fixture.group("output"))


def check_start_end(fixture: Fixture) -> Iterator[Check]:
    """BMN over (start, end) maps: forward, sampled features, gradients."""
    c = fixture.config["constructor"]
    model = BMN(
        BMNConfig(
            channels=c["feat_dim"],
            steps=c["temporal_scale"],
            layout="start_end",
            samples=c["num_sample"],
            subsamples=c["num_sample_perbin"],
            ratio=c["prop_boundary_ratio"],
            hidden=c["h1"],
            hidden_2d=c["h2"],
            hidden_3d=c["h3"],
        )
    )
    model.load_state_dict(translate(fixture.group("weights")))
    inputs = fixture.group("input")
    features = inputs["features"].requires_grad_()
    result = model(features).probabilities()
    outputs = {
        "confidence_map": torch.stack([result.iou, result.complete], 1),
        "start": result.start,
        "end": result.end,
        "bm_feature": model.match_features(model.base(features)),
    }
    yield from compare(outputs, fixture.group("output"))
    cotangents = {
        k.removeprefix("cotangent."): v for k, v in inputs.items() if k.startswith("cotangent.")
    }
    torch.autograd.backward([outputs[k] for k in cotangents], list(cotangents.values()))
    yield from gradients(fixture, model, {"features": features})


def gradients(fixture: Fixture, model: nn.Module, inputs: Outputs) -> Iterator[Check]:
    """Recorded gradients of inputs and of weights under their official names."""
    for name, expected in fixture.group("grad").items():
        if name in inputs:
            actual = inputs[name].grad
        else:
            (ours,) = translate({name: expected})
            actual = model.get_parameter(ours).grad
        yield Check(f"grad.{name}", actual, expected, BACKWARD)


def segments_of(padded: Tensor) -> Tensor:
    """Segments without the rows of -1 that fill up."""
    return padded[padded[:, 0] >= 0]


def check_duration_start(fixture: Fixture) -> Iterator[Check]:
    """BMN over (duration, start) maps: mask, labels, forward, losses, gradients."""
    c = fixture.config["constructor"]
    config = BMNConfig(
        channels=c["feat_dim"],
        steps=c["temporal_dim"],
        samples=c["num_samples"],
        subsamples=c["num_samples_per_bin"],
        ratio=c["boundary_ratio"],
        hidden=c["hidden_dim_1d"],
        hidden_2d=c["hidden_dim_2d"],
        hidden_3d=c["hidden_dim_3d"],
    )
    model = BMN(config)
    model.load_state_dict(translate(fixture.group("weights")))
    inputs = fixture.group("input")
    features = inputs["features"].requires_grad_()
    result = model(features).probabilities()
    truth = [segments_of(s) for s in inputs["gt_segments_01"]]
    edges = [boundary_targets(s, config.steps, WIDE, step=1 / config.steps) for s in truth]
    start, end = (torch.stack(side) for side in zip(*edges, strict=True))
    overlap = torch.stack([iou_targets(s, model.cells, step=1 / config.steps) for s in truth])
    valid = torch.from_numpy(model.cells.valid)
    losses = bmn_losses(
        result, start, end, overlap, valid, MMACTION2, Draws(inputs["rand_mid"], inputs["rand_low"])
    )
    mask = dense_mask(model.cells, config.samples, config.subsamples, config.ratio)
    outputs = {
        "bm_mask": valid.float(),
        "sample_mask": mask.flatten(1),
        "confidence_map": torch.stack([result.iou, result.complete], 1),
        "start": result.start,
        "end": result.end,
        "label_start": start,
        "label_end": end,
        "label_iou_map": overlap,
        "tem": losses.boundary,
        # the published code halves it, and then weighs it by ten
        "pem_reg": 0.5 * losses.regression,
        "pem_cls": losses.complete,
        "total": losses.total,
    }
    yield from compare(outputs, fixture.group("output"))
    losses.total.backward()
    yield from gradients(fixture, model, {"features": features})


def check_opentad(fixture: Fixture) -> Iterator[Check]:
    """OpenTAD's head: capped durations, logits, its order of channels, its losses."""
    c = fixture.config["constructor"]
    config = BMNConfig(
        channels=c["in_channels"],
        steps=c["tscale"],
        durations=c["dscale"],
        samples=c["num_sample"],
        subsamples=c["num_sample_perbin"],
        ratio=c["prop_extend_ratio"],
        hidden=c["in_channels"],
        reduced=c["hid_channels"],
        hidden_2d=c["out_channels"],
        hidden_3d=c["roi_channels"],
    )
    model = BMN(config)
    model.base = nn.Identity()  # recorded without the projection
    model.load_state_dict(translate(fixture.group("weights")))
    inputs = fixture.group("input")
    features = inputs["features"].requires_grad_()
    result = model(features)
    folded = model.fold(model.match_features(features)).squeeze(2)
    chances = result.probabilities()
    truth = [segments_of(s) for s in inputs["gt_segments_grid"]]
    edges = [boundary_targets(s, config.steps, STEP, whole=True) for s in truth]
    start, end = (torch.stack(side) for side in zip(*edges, strict=True))
    overlap = torch.stack([iou_targets(s, model.cells) for s in truth])
    valid = torch.from_numpy(model.cells.valid)
    draws = Draws(*(spread(inputs[name], valid) for name in ("rand_mid", "rand_low")))
    losses = bmn_losses(chances, start, end, overlap, valid, OPENTAD, draws)
    bounds = torch.stack([torch.from_numpy(b) for b in model.cells.bounds], -1)
    outputs = {
        "tem_logits": torch.stack([result.start, result.end], 1),
        "pem_logits": torch.stack([result.complete, result.iou], 1),
        "roi_feature": model.confidence[:2](folded),
        "sample_mask": dense_mask(model.cells, config.samples, config.subsamples, config.ratio),
        "valid_mask": valid.float(),
        "proposal_map": (bounds * valid[..., None]).float(),
        "label_start": (start > 0.5).long(),
        "label_end": (end > 0.5).long(),
        "label_iou_valid": overlap[:, valid],
        "loss_tem": losses.boundary,
        "loss_reg": OPENTAD.regression_weight * losses.regression,
        "loss_cls": losses.complete,
    }
    yield from compare(outputs, fixture.group("output"))
    losses.total.backward()
    yield from gradients(fixture, model, {"features": features})


def spread(values: Tensor, valid: Tensor) -> Tensor:
    """Values of the valid cells on their map, `(B, rows, columns)`."""
    full = values.new_zeros(len(values), *valid.shape)
    full[:, valid] = values
    return full


def check_labels(fixture: Fixture) -> Iterator[Check]:
    """Training labels of a resized video, (start, end) layout."""
    c = fixture.config
    segments = to_steps(
        fixture.tensors["input.segments_seconds"],
        c["T"],
        frames=c["duration_frame"],
        feature_frames=c["feature_frame"],
        seconds=c["duration_second"],
    )
    start, end = boundary_targets(segments, c["T"], CENTRED)
    overlap = iou_targets(segments, ProposalMap(c["T"], "start_end"))
    outputs = {"start": start, "end": end, "iou_map": overlap}
    yield from compare(outputs, fixture.group("output"))


def check_loss(fixture: Fixture) -> Iterator[Check]:
    """Losses of the usual PyTorch code and their gradients."""
    inputs = fixture.group("input")
    predictions = {k: inputs[k].requires_grad_() for k in ("pred_start", "pred_end", "pred_bm")}
    bm = predictions["pred_bm"]
    output = BMNOutput(predictions["pred_start"], predictions["pred_end"], bm[:, 0], bm[:, 1])
    valid = torch.from_numpy(ProposalMap(fixture.config["T"], "start_end").valid)
    losses = bmn_losses(
        output,
        inputs["gt_start"],
        inputs["gt_end"],
        inputs["gt_iou_map"],
        valid,
        USUAL,
        Draws(inputs["rand_mid"], inputs["rand_low"]),
    )
    outputs = {
        "tem": losses.boundary,
        "pem_reg": 0.5 * losses.regression,
        "pem_cls": losses.complete,
        "total": losses.total,
    }
    yield from compare(outputs, fixture.group("output"))
    losses.total.backward()
    ours = {f"grad.{k}": v.grad for k, v in predictions.items()}
    theirs = {f"grad.{k}": v for k, v in fixture.group("grad").items()}
    yield from compare(ours, theirs, BACKWARD)


def check_gcnext(fixture: Fixture) -> Iterator[Check]:
    """G-TAD's block."""
    c = fixture.config["constructor"]
    block = GCNeXt(c["channel_in"], c["k"], c["groups"], c["width_group"])
    block.load_state_dict(fixture.group("weights"))
    x = fixture.tensors["input.x"].requires_grad_()
    y = block(x)
    outputs = {"y": y, "knn_idx": nearest(x, c["k"])}
    yield from compare(outputs, fixture.group("output"))
    y.backward(fixture.tensors["input.cotangent.y"])
    yield from compare({"grad.x": x.grad}, {"grad.x": fixture.tensors["grad.x"]}, BACKWARD)


BACKBONES = {"convTransformer": "attention", "conv": "conv"}


def anchor_free(model: Args, training: Args) -> AnchorFree:
    window = model["n_mha_win_size"]
    return AnchorFree(
        AnchorFreeConfig(
            channels=model["input_dim"],
            classes=model["num_classes"],
            backbone=BACKBONES[model["backbone_type"]],
            layers=tuple(model["backbone_arch"]),
            width=model["embd_dim"],
            heads=model["n_head"],
            window=window if isinstance(window, int) else tuple(window),
            kernel=model["embd_kernel_size"],
            stride=model["scale_factor"],
            norm=model["embd_with_ln"],
            neck=model["fpn_type"],
            neck_norm=model["fpn_with_ln"],
            neck_width=model["fpn_dim"],
            first_level=model.get("fpn_start_level", 0),
            head_width=model["head_dim"],
            head_layers=model["head_num_layers"],
            head_kernel=model["head_kernel_size"],
            head_norm=model["head_with_ln"],
            ranges=tuple(tuple(r) for r in model["regression_range"]),
            max_steps=model["max_seq_len"],
            absolute=model["use_abs_pe"],
            relative=model["use_rel_pe"],
            prior=training["cls_prior_prob"],
            empty=tuple(training.get("head_empty_cls", ())),
            dropout=training["dropout"],
            drop_path=training["droppath"],
        )
    )


def check_actionformer(fixture: Fixture) -> Iterator[Check]:
    """Raw heads, decoded segments, training losses and gradients."""
    c = fixture.config
    model = anchor_free(c["model"], c["train_cfg"])
    model.load_state_dict(fixture.group("weights"))
    inputs = fixture.group("input")
    outputs: Outputs = {}
    model.eval()
    levels = model(inputs["test_feats"][None])
    for n, level in enumerate(levels):
        outputs[f"cls_logits.{n}"] = level.logits.transpose(1, 2)
        outputs[f"offsets.{n}"] = level.offsets.transpose(1, 2)
    outputs |= final_segments(model.config, levels, c["test_cfg"], c["meta"])

    model.train()
    count = sum(name.startswith("train_feats.") for name in inputs)
    batch = [inputs[f"train_feats.{n}"] for n in range(count)]
    longest = max(f.shape[1] for f in batch)
    features = torch.stack([nn.functional.pad(f, (0, longest - f.shape[1])) for f in batch])
    mask = torch.stack([torch.arange(longest) < f.shape[1] for f in batch])
    levels = model(features, mask)
    training = c["train_cfg"]
    centred = training["center_sample"] == "radius"
    config = PointLossConfig(
        radius=training["center_sample_radius"] if centred else None,
        weight=training["loss_weight"],
        smoothing=training["label_smoothing"],
    )
    points = level_points(model.config, [level.logits.shape[1] for level in levels])
    targets = [
        point_targets(
            points,
            inputs[f"train_segments.{n}"],
            inputs[f"train_labels.{n}"].long(),
            model.config.classes,
            config.radius,
        )
        for n in range(count)
    ]
    kinds, offsets = (torch.stack(part) for part in zip(*targets, strict=True))
    losses = point_losses(levels, kinds, offsets, training["init_loss_norm"], config)
    outputs |= {
        "loss_cls": losses.classification,
        "loss_reg": losses.regression,
        "loss_final": losses.total,
    }
    yield from compare(outputs, fixture.group("output"))
    yield Check("normalizer", losses.normalizer, c["loss_normalizer_after"])
    losses.total.backward()
    places = {
        "cls": model.cls_head.cls_head.conv.weight,
        "reg": model.reg_head.offset_head.conv.weight,
        "embd0": model.backbone.embd[0].conv.weight,
    }
    for name, expected in fixture.group("grad").items():
        yield Check(f"grad.{name}", places[name].grad, expected, BACKWARD)


def final_segments(config: AnchorFreeConfig, levels: list[Any], test: Args, meta: Args) -> Outputs:
    """Decoded and suppressed segments in seconds."""
    points = level_points(config, [level.logits.shape[1] for level in levels])
    ((segments, scores, labels),) = decode(
        levels,
        points,
        threshold=test["pre_nms_thresh"],
        topk=test["pre_nms_topk"],
        shortest=test["duration_thresh"],
    )
    spans, values, kinds = (x.detach().numpy() for x in (segments, scores, labels))
    if test["nms_method"] != "none":
        spans, values, kinds = batched_nms(
            spans,
            values,
            kinds,
            method={"soft": "gaussian", "hard": "hard"}[test["nms_method"]],
            iou=test["iou_threshold"],
            sigma=test["nms_sigma"],
            min_score=test["min_score"],
            keep=test["max_seg_num"],
            multiclass=test["multiclass_nms"],
            voting=test["voting_thresh"],
            vote_by_overlap=True,
        )
    seconds = (spans * meta["feat_stride"] + 0.5 * meta["feat_num_frames"]) / meta["fps"]
    return {
        "final_segments": torch.from_numpy(seconds).clamp(0, meta["duration"]).float(),
        "final_scores": torch.from_numpy(values),
        "final_labels": torch.from_numpy(kinds).float(),
    }


def check_bmn(fixture: Fixture) -> Iterator[Check]:
    """A BMN by the layout that its configuration names."""
    module = fixture.config.get("module", "")
    for word, check in (
        ("OpenTAD", check_opentad),
        ("(duration,start)", check_duration_start),
        ("(start,end)", check_start_end),
    ):
        if word in module:
            return check(fixture)
    raise FixtureError(f"{fixture.path}: unknown module {module!r}")


PREFIXES: dict[str, Adapter] = {
    "localization_bm_mask": check_mask,
    "localization_bmn": check_bmn,
    "localization_labels": check_labels,
    "localization_loss": check_loss,
    "localization_gcnext": check_gcnext,
    "localization_actionformer": check_actionformer,
}
