"""Parity of the captioner with its published code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import BACKWARD, FORWARD, Adapter, Check, Fixture, FixtureError, compare
from vision.tasks.captioning.attention import HIDDEN, SoftAttention, hide
from vision.tasks.captioning.boxes import (
    class_targets,
    pixel_iou,
    region_overlaps,
    word_targets,
)
from vision.tasks.captioning.checkpoint import initialise_classes, load_published, translate
from vision.tasks.captioning.decode import beam_search, greedy
from vision.tasks.captioning.encoder import RegionEncoder, Scene, VideoInputs
from vision.tasks.captioning.losses import attention_loss, caption_loss, class_loss
from vision.tasks.captioning.model import Captioner, CaptionerConfig, State, look

Args = dict[str, Any]
Tensors = dict[str, Tensor]

LEFTOVER = -900
"""Scores below this are of beams that had ended."""


def captioner(ctor: Args, **changes: Any) -> CaptionerConfig:
    """Official options as ours."""
    return CaptionerConfig(
        **{
            "words": ctor["vocab_size"] + bool(ctor.get("embedding_vocab_plus_1")),
            "classes": ctor["detect_size"],
            "variant": "video",
            "length": ctor["seq_length"],
            "width": ctor["rnn_size"],
            "word_width": ctor["input_encoding_size"],
            "attention_width": ctor["att_hid_size"],
            "region_width": ctor["att_feat_size"],
            "feature_width": ctor["vis_encoding_size"],
            "dropout": ctor["drop_prob_lm"],
            "region_dropout": ctor["second_drop_prob"],
            "attention": "additive" if ctor["softattn_type"] == "additive" else "dot",
            "temperature": ctor["softmax_temp"],
            "localizer_temperature": ctor["localizer_softmax_temp"],
            "sampled_frames": ctor["num_sampled_frm"],
            "recurrent": {"bigru": "gru", "bilstm": "lstm"}[ctor["t_attn_mode"]],
            "hide_low_scores": False,
            **changes,
        }
    )


def booleans(tensors: Tensors) -> Tensors:
    return {k: v.bool() if v.dtype == torch.uint8 else v for k, v in tensors.items()}


def leaves(fixture: Fixture) -> Tensors:
    """Inputs, those with a recorded gradient as leaves."""
    inputs = booleans(fixture.group("input"))
    for name in fixture.group("grad.input"):
        inputs[name].requires_grad_()
    return inputs


def gradients(
    fixture: Fixture, total: Tensor, inputs: Tensors, weights: Tensors
) -> Iterator[Check]:
    """Gradients of `total`; ours of layers without part in it are zero as theirs."""
    total.backward()
    ours = {f"grad.input.{k}": v.grad for k, v in inputs.items() if v.grad is not None}
    theirs = {f"grad.input.{k}": v for k, v in fixture.group("grad.input").items()}
    recorded = fixture.group("grad.weights")
    theirs |= {f"grad.weights.{k}": v for k, v in recorded.items()}
    for name, value in recorded.items():
        parameter = weights.get(name)
        gradient = None if parameter is None else parameter.grad
        ours[f"grad.weights.{name}"] = torch.zeros_like(value) if gradient is None else gradient
    largest = max(float(v.abs().max()) for v in theirs.values())
    for name, gradient in theirs.items():
        # What vanishes but for rounding, such as a bias under a softmax, has no scale of its own.
        vanishes = float(gradient.abs().max()) < 1e-5 * largest
        yield Check(name, ours.get(name), gradient, BACKWARD, largest if vanishes else 0.0)


def check_attention(fixture: Fixture) -> Iterator[Check]:
    config, ctor = fixture.config, fixture.config["ctor"]
    kind = "additive" if "Additive" in config["module"] else "dot"
    attention = SoftAttention(
        ctor["rnn_hidden_size"], ctor["attn_hidden_size"], kind, ctor.get("temp", 1.0)
    )
    names = {"h2attn": "query", "alpha_net": "score"}
    weights = {
        k.replace(old, new): v
        for k, v in fixture.group("weights").items()
        for old, new in names.items()
        if k.startswith(old)
    }
    attention.load_state_dict(weights)
    inputs = leaves(fixture)
    fill = -torch.inf if config.get("with_sentinel") else HIDDEN
    weighted, scores = attention(
        inputs["h"], inputs["proj_context"], inputs.get("context"), inputs.get("mask"), fill
    )
    outputs = {"weighted": weighted, "attn": scores.softmax(1)}
    if "proposal_frame_mask" in inputs:
        outputs["frame_masked_logits"] = hide(scores, inputs["proposal_frame_mask"], fill)
    yield from compare(outputs, fixture.group("output"), FORWARD)
    total = (outputs["weighted"] * inputs["cotangent_weighted"]).sum()
    total = total + (outputs["attn"] * inputs["cotangent_attn"]).sum()
    parameters = dict(attention.named_parameters())
    back = {new: old for old, new in names.items()}
    named = {f"{back[k.split('.')[0]]}.{k.split('.')[1]}": v for k, v in parameters.items()}
    yield from gradients(fixture, total, inputs, named)


def scene_of(inputs: Tensors) -> Scene:
    """What a fixture of the decoder alone gives of a scene."""
    regions = inputs["pool_feats"]
    return Scene(
        overall=inputs["fc_feats"],
        regions=regions,
        region_keys=inputs["p_pool_feats"],
        hidden=inputs["region_mask"],
        context=inputs["conv_feats"],
        context_keys=inputs["p_conv_feats"],
        detected=regions,
        class_scores=regions,
        shares=regions,
    )


def states(state: State) -> Tensors:
    hidden, cell = zip(state.attention, state.language, strict=True)
    return {"state_h": torch.stack(hidden), "state_c": torch.stack(cell)}


def fill_part(model: nn.Module, weights: Tensors, prefix: str) -> None:
    """Load the official weights of one part, of which our model has more."""
    result = model.load_state_dict(translate({prefix + k: v for k, v in weights.items()}), False)
    if result.unexpected_keys:
        raise FixtureError(f"weights do not fit: {result.unexpected_keys}")


def by_official_name(model: nn.Module, names: list[str], prefix: str = "") -> Tensors:
    """Our parameters by the official names that have a part in the computation."""
    parameters = dict(model.named_parameters())
    found = {}
    for name in names:
        ours = translate({prefix + name: torch.empty(0)})
        if ours and next(iter(ours)) in parameters:
            found[name] = parameters[next(iter(ours))]
    return found


def check_decoder(fixture: Fixture) -> Iterator[Check]:
    model = Captioner(captioner(fixture.config["ctor"])).eval()
    fill_part(model, fixture.group("weights"), "decoder_core.")
    inputs = leaves(fixture)
    scene = scene_of(inputs)
    state = model.decoder.begin(scene)
    outputs: dict[str, list[Tensor]] = {
        name: [] for name in ("h_lang", "attn", "frame_masked_logits", "weighted_pool")
    }
    for t, word in enumerate(inputs["embedded_words"]):
        state, scores = model.decoder(word, scene, state)
        attention = scores.softmax(1)
        outputs["h_lang"].append(state.language[0])
        outputs["attn"].append(attention)
        outputs["weighted_pool"].append(torch.einsum("bn,bnc->bc", attention, scene.regions))
        outputs["frame_masked_logits"].append(hide(scores, inputs["frame_masks"][t]))
    stacked = {k: torch.stack(v) for k, v in outputs.items()}
    yield from compare({**stacked, **states(state)}, fixture.group("output"))
    total = (stacked["h_lang"] * inputs["cotangent_h"]).sum()
    total = total + (stacked["attn"] * inputs["cotangent_attn"]).sum()
    names = list(fixture.group("grad.weights"))
    yield from gradients(fixture, total, inputs, by_official_name(model, names, "decoder_core."))


def check_cycle_parts(fixture: Fixture) -> Iterator[Check]:
    model = Captioner(captioner(fixture.config["ctor"])).eval()
    reconstructor, decoder = "attended_roi_decoder_core.", "decoder_core."
    weights = fixture.group("weights")
    fill_part(model, {k.replace(reconstructor, decoder): v for k, v in weights.items()}, "")
    inputs = leaves(fixture)
    scene = scene_of(inputs)
    state = model.decoder.begin(scene)
    outputs: dict[str, list[Tensor]] = {
        name: [] for name in ("localized_region", "localized_frame", "localizer_prob", "h_lang")
    }
    words = zip(inputs["teacher_word_embeddings"], inputs["localized_word_embeddings"], strict=True)
    for word, spoken in words:
        seen, scores = look(model.localizer, spoken, scene)
        region = torch.einsum("bn,bnc->bc", scores.softmax(1), scene.regions)
        outputs["localized_region"].append(region)
        outputs["localized_frame"].append(seen - region)
        outputs["localizer_prob"].append(scores.softmax(1))
        state = model.decoder.speak(seen, model.decoder.read(word, scene, state), state)
        outputs["h_lang"].append(state.language[0])
    stacked = {k: torch.stack(v) for k, v in outputs.items()}
    yield from compare({**stacked, **states(state)}, fixture.group("output"))
    total = (stacked["h_lang"] * inputs["cotangent_h"]).sum()
    official = {
        k: k.replace(reconstructor, decoder)
        for k in fixture.group("grad.weights")
        if not k.startswith(f"{reconstructor}soft_attn")
    }
    ours = by_official_name(model, list(official.values()))
    yield from gradients(fixture, total, inputs, {k: ours[v] for k, v in official.items()})


def check_losses(fixture: Fixture) -> Iterator[Check]:
    inputs = leaves(fixture)
    log_probs = inputs["logits"].log_softmax(2)
    positive = inputs["att_target_mask"]
    word = caption_loss(log_probs, inputs["target"])
    losses = {
        "lm_loss": word,
        "att2_loss": attention_loss(inputs["att_logits"], positive),
        "ground_loss": attention_loss(inputs["ground_logits"], positive),
        "recon_xe_loss": word,
    }
    yield from compare({k: v[None] for k, v in losses.items()}, fixture.group("output"))
    total = losses["lm_loss"] + 0.05 * losses["att2_loss"] + 0.1 * losses["ground_loss"]
    for name in fixture.group("grad.input"):  # without a target, two have no gradient
        total = total + 0 * inputs[name].sum()
    yield from gradients(fixture, total, inputs, {})


def overlaps_of(inputs: Tensors, low: Tensor | None = None) -> Tensor:
    proposals, truth = inputs["proposals"], inputs["gt_boxes"]
    apart = inputs["frm_mask"]
    if low is not None:
        apart = apart | low[..., None]
    return region_overlaps(proposals[..., :4], truth[..., :4], apart)


def named_boxes(inputs: Tensors) -> Tensor:
    """Boxes of each word `(B, K, L)`, from the official mask, which begins before the caption."""
    return ~inputs["box_mask"][:, 0, :, 1:]


def check_boxes(fixture: Fixture) -> Iterator[Check]:
    inputs = booleans(fixture.group("input"))
    overlaps = overlaps_of(inputs)
    outputs = {
        "overlaps": overlaps,
        "overlaps_plain_image0": pixel_iou(
            inputs["proposals"][0, :, :4], inputs["gt_boxes"][0, :, :4]
        ),
        "roi_labels": word_targets(overlaps, named_boxes(inputs)).to(torch.uint8),
        "sim_mat_target": class_targets(overlaps, inputs["gt_boxes"][..., 5].long()),
    }
    yield from compare(outputs, fixture.group("output"))


def video_inputs(inputs: Tensors) -> VideoInputs:
    return VideoInputs(
        frames=inputs["segs_feat"],
        window=inputs["sample_idx"],
        segment=inputs["num"][:, 3:7],
        regions=inputs["region_feats"],
        boxes=inputs["proposals"][..., :5],
        count=inputs["num"][:, 1].long(),
        low=inputs["pnt_mask"][:, 1:],
    )


def losses_of(model: Captioner, inputs: Tensors, ctor: Args) -> tuple[Tensors, Tensor]:
    """The published losses of one batch and the overlaps they are made from."""
    target = inputs["gt_caption"][:, 0]
    low = inputs["pnt_mask"][:, 1:]
    overlaps = overlaps_of(inputs, low)
    scene = model.encode(video_inputs(inputs))
    cycle = not ctor["train_decoder_only"]
    trace = model(scene, target, cycle=cycle)

    named = named_boxes(inputs)[..., : target.shape[1]]
    shares_frame = torch.einsum("bnk,bkl->bln", (~inputs["frm_mask"]).float(), named.float()) > 0
    elsewhere = ~shares_frame | scene.hidden[:, None]
    scores = hide(trace.scores, elsewhere)
    classes = (inputs["input_seq"][:, 0, 1:, 0] - ctor["vocab_size"]).clamp(min=0)
    regions = model.encoder.regions
    likeness = regions.class_vectors(classes) @ scene.detected.transpose(1, 2)
    likeness = likeness + regions.class_bias[classes][..., None] + scores
    positive = word_targets(overlaps, named)
    classified = class_loss(
        scene.class_scores, class_targets(overlaps, inputs["gt_boxes"][..., 5].long())
    )
    losses = {
        "lm_loss": caption_loss(trace.log_probs, target),
        "att2_loss": attention_loss(scores, positive),
        "ground_loss": attention_loss(likeness.masked_fill(elsewhere, HIDDEN), positive),
        "cls_loss": classified * (not ctor["test_mode"]),
    }
    losses["total_loss"] = (
        0.5 * losses["lm_loss"] + 0.05 * losses["att2_loss"] + 0.1 * losses["cls_loss"]
    )
    if trace.rebuilt is not None:
        losses["recon_loss"] = caption_loss(trace.rebuilt, target)
        losses["total_loss"] = losses["total_loss"] + 0.5 * losses["recon_loss"]
    return losses, overlaps


def check_model(fixture: Fixture) -> Iterator[Check]:
    ctor = fixture.config["ctor"]
    training = fixture.config["mode"].startswith("train")
    dropout = {"recurrent_dropout": 0.0} if training else {}
    model = Captioner(captioner(ctor, **dropout)).train(training)
    load_published(model, fixture.group("weights"))
    inputs = booleans(fixture.group("input"))
    losses, overlaps = losses_of(model, inputs, ctor)
    outputs: Tensors = {k: v.reshape(1) for k, v in losses.items()}
    expected = fixture.group("output")
    tolerance = BACKWARD if training else FORWARD

    names = fixture.group("after_train_step")
    buffers = dict(model.named_buffers())
    after = {k: buffers[next(iter(translate({k: v})))] for k, v in names.items()}
    yield from compare(after, names, tolerance)

    if fixture.group("grad.weights"):
        recorded = list(fixture.group("grad.weights"))
        ours = by_official_name(model, recorded)
        yield from gradients(fixture, losses["total_loss"], {}, ours)

    model.eval()
    with torch.no_grad():
        scene = model.encode(video_inputs(inputs))
        words, attention = greedy(model, scene, unknown=fixture.config["unk_index"])
    outputs |= {
        "overlaps": overlaps,
        "greedy_seq": words,
        "greedy_attn": attention,
        "eval.fc_feats": scene.overall,
        "eval.conv_feats": scene.context,
        "eval.p_conv_feats": scene.context_keys,
        "eval.pool_feats": scene.regions,
        "eval.p_pool_feats": scene.region_keys,
        "eval.g_pool_feats": scene.detected,
        "eval.overlaps_expanded": overlaps,
        # The official mask has a column more, for a region that stands for "none".
        "eval.pnt_mask": nn.functional.pad(scene.hidden, (1, 0)).to(torch.uint8),
    }
    yield from compare(outputs, expected, tolerance)
    yield from check_initialisation(fixture, inputs, captioner(ctor))


def check_initialisation(
    fixture: Fixture, inputs: Tensors, config: CaptionerConfig
) -> Iterator[Check]:
    expected = fixture.group("init")
    if expected:
        encoder = RegionEncoder(config)
        initialise_classes(
            encoder,
            *(
                inputs[f"init_{name}"]
                for name in ("glove_clss", "glove_vg_cls", "cls_score_w", "cls_score_b")
            ),
        )
        ours = {"vis_embed": encoder.classes.weight, "vis_bias": encoder.class_bias}
        yield from compare({k: v.detach() for k, v in ours.items()}, expected)


def check_beam(fixture: Fixture) -> Iterator[Check]:
    ctor = fixture.config["ctor"]
    model = Captioner(captioner(ctor)).eval()
    fill_part(model, fixture.group("weights"), "")
    scene = scene_of(booleans(fixture.group("input")))
    length = ctor["seq_length"]
    for size in fixture.config["beams"]:
        expected = fixture.group(f"output.beam{size}")
        right = beam_search(model, scene, size)
        first = beam_search(model, scene, size, first_finished=True)
        valid = expected["score"] > LEFTOVER

        def padded(x: Tensor) -> Tensor:
            return nn.functional.pad(x, (0, length - len(x)))

        for name, values in {
            "seq": [[padded(h.words) for h in row] for row in right],
            "logprobs": [[padded(h.log_probs) for h in row] for row in right],
            "score": [[torch.tensor(h.score) for h in row] for row in right],
        }.items():
            rows = [
                torch.stack([*row, *[torch.zeros_like(row[0])] * (size - len(row))])
                for row in values
            ]
            theirs = expected[name]
            ours = torch.stack(rows).to(theirs.dtype)
            if name == "logprobs":  # after the end theirs are of words that follow it
                spoken = expected["seq"] > 0
                ended = nn.functional.pad(spoken[..., :-1], (1, 0), value=True)
                ours, theirs = ours * ended, theirs * ended
            yield from compare(
                {f"beam{size}.{name}": ours[valid]}, {f"beam{size}.{name}": theirs[valid]}
            )
        published = torch.stack([padded(row[0].words) for row in first])
        yield from compare(
            {f"beam{size}.as_published_best_seq": published},
            {f"beam{size}.as_published_best_seq": expected["as_published_best_seq"]},
        )


KINDS: dict[str, Callable[[Fixture], Iterator[Check]]] = {
    "SoftAttention": check_attention,
    "AdditiveSoftAttention": check_attention,
    "TopDownDecoderCore": check_decoder,
    "LocalizerNoLSTMCore": check_cycle_parts,
    "AttenedDecoderCore": check_cycle_parts,
    "LMCriterion": check_losses,
    "LanguageCriterion": check_losses,
    "bbox_overlaps": check_boxes,
    "DecodeAndGroundCaptionerGVDROI": check_model,
    "beam_search": check_beam,
}
"""What to run, by a word of the fixture's `module`."""


def check(fixture: Fixture) -> Iterator[Check]:
    """Outputs and gradients of one module, function or model."""
    module = str(fixture.config.get("module"))
    words = module.replace("/", " ").replace(",", " ").replace(".", " ").split()
    for word in words:
        if word in KINDS:
            return KINDS[word](fixture)
    raise FixtureError(f"{fixture.path}: unknown module {module!r}")


PREFIXES: dict[str, Adapter] = {"captioning_": check}
