"""Parity of the published object-level transformer with the official code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import BACKWARD, EXACT, Adapter, Check, Fixture, compare
from vision.tasks.scanpath.oat import OAT, OATConfig, Pointer, oat_loss, oat_path
from vision.tasks.scanpath.oat_places import (
    LearnedPlaces,
    SinusoidPlaces,
    fit_places,
    place_loss,
)
from vision.tasks.scanpath.patches import PatchCNN, SpatialPyramidPool

Args = dict[str, Any]


def check_places(fixture: Fixture) -> Iterator[Check]:
    args, inputs = fixture.config, fixture.group("input")
    if "variants" not in args:
        places = LearnedPlaces(fixture.tensors["weights.pe_table"], args["emb"])
        yield from compare({"pe": places(inputs["coords"])}, fixture.group("output"))
        return
    ours: dict[str, Tensor] = {}
    for n, variant in enumerate(args["variants"]):
        sinusoid = SinusoidPlaces(
            args["emb"],
            variant["functionChoice"],
            variant["alpha"],
            wide_rows=variant["changeX"] == "True",
        )
        ours[f"pe{n}"] = sinusoid(inputs[f"coords{n}"])
        ours[f"table{n}"] = sinusoid.table[None]
    yield from compare(ours, fixture.group("output"))


def check_fit(fixture: Fixture) -> Iterator[Check]:
    args, start = fixture.config, fixture.tensors["input.W"]
    curve = fixture.tensors["output.loss_curve"]
    table = start.clone().requires_grad_()
    loss = place_loss(table, args["sigma"])
    loss.backward()
    fitted, losses = fit_places(start, args["sigma"], steps=len(curve))
    ours = {"loss": loss.detach()[None], "loss_curve": torch.tensor(losses)}
    (after,) = (name for name in fixture.group("output") if name.startswith("W_after"))
    yield from compare({**ours, after: fitted}, fixture.group("output"))
    yield Check("grad.W", table.grad, fixture.tensors["grad.W"], BACKWARD)


def check_pyramid(fixture: Fixture) -> Iterator[Check]:
    ours = {
        f"y{n}": SpatialPyramidPool(case["num_levels"], case["pool_type"])(
            fixture.tensors[f"input.x{n}"]
        )
        for n, case in enumerate(fixture.config["cases"])
    }
    yield from compare(ours, fixture.group("output"))


def check_cnn(fixture: Fixture) -> Iterator[Check]:
    args, inputs = fixture.config, fixture.group("input")
    cnn = PatchCNN(args["outputSize"], args["spp"])
    cnn.load_state_dict(fixture.group("weights"))
    embedded = cnn(inputs["patches_u8"] / 255)
    embedded.backward(inputs["cotangent"])
    yield from compare({"emb": embedded.detach()}, fixture.group("output"))
    yield from check_gradients(cnn, fixture)


def check_pointer(fixture: Fixture) -> Iterator[Check]:
    args, inputs = fixture.config, fixture.group("input")
    pointer = Pointer(args["emb"], args["CA_head"], args["CA_dk"])
    pointer.load_state_dict(fixture.group("weights"))
    decoded, encoded = (inputs[name].requires_grad_() for name in ("decoder_out", "encoder_out"))
    logits = pointer(decoded, encoded)
    logits.backward(inputs["cotangent"])
    yield from compare({"logits": logits.detach()}, fixture.group("output"))
    grads = {"decoder_out": decoded.grad, "encoder_out": encoded.grad}
    for name, expected in fixture.group("grad").items():
        yield Check(f"grad.{name}", grads[name], expected, BACKWARD)


def check_gradients(model: nn.Module, fixture: Fixture) -> Iterator[Check]:
    for name, expected in fixture.group("grad").items():
        yield Check(f"grad.{name}", model.get_parameter(name).grad, expected, BACKWARD)


def build(fixture: Fixture) -> OAT:
    """The model of a fixture, with its weights."""
    args, weights = fixture.config, fixture.group("weights")
    table = weights.pop("pe_table", None)
    config = OATConfig(
        rows=args["shelf_row"],
        columns=args["shelf_col"],
        width=args["emb_size"],
        heads=args["nhead"],
        hidden=args["dim_feedforward"],
        encoder_layers=args["num_encoder_layers"],
        decoder_layers=args["num_decoder_layers"],
        places=args["functionChoice"],
        alpha=args.get("alpha", 0.9),
        wide_rows=args.get("changeX") == "True",
        pointer=args["CA_version"] == 3,
        pointer_heads=args["CA_head"],
        pointer_scale=args["CA_dk"],
        levels=args["spp"],
    )
    model = OAT(config, table)
    model.load_state_dict(weights)
    return model.eval()


def check_full(fixture: Fixture) -> Iterator[Check]:
    inputs = fixture.group("input")
    model = build(fixture)
    target = inputs["src_pos"][-1]
    ids, labels = inputs["tgt_pos"][:-1], inputs["tgt_pos"][1:]
    logits = model(inputs["object_patches_u8"] / 255, target, ids)
    loss = oat_loss(logits, labels, model.config.pad)
    loss.backward()
    ours = {
        "logits": logits.detach(),
        "loss": loss.detach()[None],
        "src_coords": model.source_coordinates(inputs["src_pos"], target),
        "tgt_coords": model.coordinates(ids, target),
        "tgt_padding_mask": (ids == model.config.pad).T,
    }
    yield from compare(ours, fixture.group("output"))
    yield from check_gradients(model, fixture)


def check_decode(fixture: Fixture) -> Iterator[Check]:
    args = fixture.config
    model = build(fixture)
    patches = fixture.tensors["input.object_patches_u8"][0] / 255
    human, longest = args["human_sequence"], args["max_len"]
    path, losses = oat_path(model, patches, args["target"], longest, human=human)
    ours = {
        "greedy_step_loss": torch.tensor(losses),
        "greedy_mean_loss": torch.tensor([sum(losses) / len(losses)]),
    }
    paths = {"greedy": path}
    torch.manual_seed(args["sample_seed"])
    for n in range(args["stochastic_iteration"]):
        paths[f"sample{n}"], _ = oat_path(
            model, patches, args["target"], longest, sample=True, human=human
        )
    for name, expected in fixture.group("output").items():
        if name in paths:
            yield Check(name, torch.tensor(paths[name]), expected, EXACT)
        else:
            yield from compare(ours, {name: expected})


KINDS = {
    "oat_pe_": check_places,
    "oat_pefit_": check_fit,
    "oat_spp_": check_pyramid,
    "oat_cnn_": check_cnn,
    "oat_pointer_": check_pointer,
    "oat_full_": check_full,
    "oat_decode_": check_decode,
}
PREFIXES: dict[str, Adapter] = KINDS
