"""Checkpoints of the published video captioner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from vision.errors import FoveateError
from vision.tasks.captioning.encoder import RegionEncoder
from vision.tasks.captioning.model import Captioner, CaptionerConfig

NAMES = {
    "roi_feat_extractor.vis_classifiers_bias": "encoder.regions.class_bias",
    "roi_feat_extractor.vis_embed.0": "encoder.regions.classes",
    "roi_feat_extractor.ctx2pool_grd": "encoder.regions.features",
    "roi_feat_extractor.loc_fc": "encoder.regions.location",
    "roi_feat_extractor.pool_embed": "encoder.regions.embed",
    "roi_feat_extractor.ctx2pool_fc": "encoder.regions.keys",
    "roi_feat_extractor.fc_embed": "encoder.overall",
    "roi_feat_extractor.seg_info_embed": "encoder.segment",
    "roi_feat_extractor.att_embed_aux.0": "encoder.frames.norm",
    "roi_feat_extractor.att_embed": "encoder.frames.streams",
    "roi_feat_extractor.context_enc": "encoder.frames.recurrent",
    "roi_feat_extractor.ctx2att_fc": "encoder.context_keys",
    "decoder_core.att_lstm": "decoder.attention_lstm",
    "decoder_core.lang_lstm": "decoder.language_lstm",
    "decoder_core.soft_attn.h2attn": "decoder.attention.query",
    "decoder_core.soft_attn.alpha_net": "decoder.attention.score",
    "localizer_core.soft_attn.h2attn": "localizer.query",
    "embed.0": "embed.0",
    "logit": "vocabulary",
}
"""Published name -> ours, both whole or as beginnings that a dot follows."""

UNUSED = (
    "roi_feat_extractor.det_fc.",  # word vectors of the classes, which nothing reads
    "decoder_core.i2h_2.",
    "decoder_core.h2h_2.",
    "decoder_core.localied_fc.",
    "attended_roi_decoder_core.",  # the decoder's LSTMs again, and an attention never used
)
"""Beginnings of published names that have no part in the computation."""


def open_published(path: Path, *, overwrite_attention: bool = False, **settings: Any) -> Captioner:
    """The published video captioner from its checkpoint; sizes follow from the tensors.

    Args:
        path: `model-best.pth`, or a safetensors copy of its tensors.
        overwrite_attention: see `load_published`.
        settings: fields of `CaptionerConfig` that tensors do not tell, such as `length`,
            `temperature` or `hide_low_scores`.

    Returns:
        The captioner, in evaluation mode.

    Raises:
        FoveateError: no such file, or no checkpoint of the published captioner.
    """
    published = read_published(path)
    try:
        words, word_width = published["embed.0.weight"].shape
        feature_width, region_width = published["roi_feat_extractor.ctx2pool_grd.0.weight"].shape
        gates, hidden = published["roi_feat_extractor.context_enc.weight_hh_l0"].shape
        sizes: dict[str, Any] = {
            "words": words,
            "word_width": word_width,
            "classes": len(published["roi_feat_extractor.vis_classifiers_bias"]) - 1,
            "width": published["logit.weight"].shape[1],
            "attention_width": len(published["decoder_core.soft_attn.h2attn.bias"]),
            "region_width": region_width,
            "feature_width": feature_width,
        }
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise FoveateError(f"{path} is no checkpoint of the published captioner: {error}") from None
    additive = "decoder_core.soft_attn.alpha_net.weight" in published
    model = Captioner(
        CaptionerConfig(
            variant="video",
            attention="additive" if additive else "dot",
            recurrent="gru" if gates == 3 * hidden else "lstm",
            **sizes,
            **settings,
        )
    )
    load_published(model, published, overwrite_attention=overwrite_attention)
    return model.eval()


def translate(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a published checkpoint under our names, without what nothing uses.

    Raises:
        FoveateError: a tensor that the published model does not have.
    """
    return {
        ours: tensor for name, tensor in published.items() if (ours := our_name(name)) is not None
    }


def our_name(name: str) -> str | None:
    """Our name of a published tensor, None when nothing uses it.

    Raises:
        FoveateError: the published model has no such tensor.
    """
    if name.startswith(UNUSED):
        return None
    for theirs, ours in NAMES.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    raise FoveateError(f"the checkpoint holds {name!r}, which no published captioner has")


def load_published(
    model: Captioner, published: Mapping[str, Tensor], *, overwrite_attention: bool = False
) -> None:
    """Fill a captioner of the video variant from a published checkpoint.

    A checkpoint of the first stage, trained without the cycle, may lack the localizer; its layer
    then stays as it is.

    Args:
        model: what to fill.
        published: `state_dict` of the published module.
        overwrite_attention: load as the published second stage does on resuming. It matches names
            without their first part, so that the never-trained attention of the reconstructor
            takes the place of the decoder's.

    Raises:
        FoveateError: tensors are missing, or of another architecture.
    """
    tensors = translate(published)
    if overwrite_attention:
        start = "attended_roi_decoder_core."
        tensors |= translate(
            {
                name.replace(start, "decoder_core."): tensor
                for name, tensor in published.items()
                if name.startswith(f"{start}soft_attn.")
            }
        )
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise FoveateError(f"the checkpoint does not fit the captioner: {reason}") from None
    lacking = [name for name in missing if not name.startswith("localizer.")] + list(unexpected)
    if lacking:
        raise FoveateError(f"the checkpoint does not fit the captioner: {lacking[0]}")


def read_published(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.pth` or `.safetensors` file; code in pickles is refused.

    Raises:
        FoveateError: it is not such a file, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise FoveateError(f"{path} is not a readable checkpoint: {error}") from None
    except Exception as error:  # what `torch.load` raises depends on how a file is broken
        reason = " ".join(str(error).split())[:200]
        raise FoveateError(f"{path} holds more than tensors, or is damaged: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise FoveateError(f"{path} is no state dict of tensors")
    return content


@torch.no_grad()
def initialise_classes(
    encoder: RegionEncoder, vectors: Tensor, known: Tensor, weight: Tensor, bias: Tensor
) -> None:
    """Begin the classes of regions from a detector's classifier.

    Args:
        encoder: whose classes to fill.
        vectors: `(D + 1, W)` word vectors of the captioner's classes, background first.
        known: `(C, W)` word vectors of the detector's classes, background first.
        weight: `(C, F)` of the detector's classifier.
        bias: `(C,)` likewise.
    """
    nearest = (normalize(known, dim=1) @ normalize(vectors, dim=1).T).argmax(0)
    nearest[0] = 0
    encoder.classes.weight.copy_(weight[nearest])
    encoder.class_bias.copy_(bias[nearest])
