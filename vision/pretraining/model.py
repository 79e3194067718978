"""A pretext model by its configuration, and from weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.pretraining.data import ViewConfig
from vision.pretraining.droppos import DropPos, create_droppos, create_encoder
from vision.pretraining.pretext import DropPosConfig
from vision.pretraining.pyramid import RegionDropPos


@dataclass(frozen=True)
class ModelConfig:
    """A backbone, its pictures and the pretext that pretrains it.

    Args:
        encoder: name of a timm model.
        view: its pictures.
        pretext: how positions are dropped.
        options: of the timm model, such as `depth`.
        region: side in pixels of the regions that a pyramid's pictures fall into; None for
            vision transformers, whose patches take their part.
    """

    encoder: str
    view: ViewConfig
    pretext: DropPosConfig = field(default_factory=DropPosConfig)
    options: dict[str, Any] = field(default_factory=dict)
    region: int | None = None


def create_model(config: ModelConfig) -> DropPos | RegionDropPos:
    """The pretext model of a configuration, its weights random.

    Raises:
        FoveateError: no such backbone, or one that does not go with the settings.
    """
    size = config.view.size
    if config.region is None:
        return create_droppos(config.encoder, config.pretext, img_size=size, **config.options)
    encoder = create_encoder(config.encoder, **config.options)
    return RegionDropPos(encoder, config.pretext, size, config.region)


def load_model(
    name: str | None, device: str | None = None
) -> tuple[DropPos | RegionDropPos, ModelConfig]:
    """A pretext model from weights, for evaluation.

    Args:
        name: catalogue name or path; the default when None.
        device: where to run; the best there is when None.

    Raises:
        FoveateError: no such weights or device.
    """
    place = pick_device(device)
    weights = open_weights(name, task="droppos")
    config = weights.config(ModelConfig)
    model = create_model(config)
    weights.fill(model)
    return model.to(place).eval(), config
