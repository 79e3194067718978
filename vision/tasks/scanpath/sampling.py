"""Drawing scanpaths: all paths of a batch at once, step by step, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vision.tasks.scanpath.layers import KeyValue
from vision.tasks.scanpath.model import ScanpathModel
from vision.tasks.scanpath.scene import Encoded, Goal, Scene, Steps


@dataclass
class Drawn:
    """P paths in each of B pictures.

    Args:
        objects: `(B, P, T)` fixated; -1 after the end.
        durations: `(B, P, T)` ms; NaN when the model has none.
        offsets: `(B, P, T, 2)` from the box's centre, in half its width and height.
        chances: `(B, P, T)` log-probability in nats of each choice, at temperature 1.
        stops: `(B, P, T + 1)` probability of ending instead, before each fixation and after the
            last.
        maps: `(B, T, N)` mean over paths of the chances of each object, before each step.
        whole: `(B, P)` whether the path came to an end of its own.
        ends: `(B, P)` log-probability of that end.
    """

    objects: Tensor
    durations: Tensor
    offsets: Tensor
    chances: Tensor
    stops: Tensor
    maps: Tensor
    whole: Tensor
    ends: Tensor


def reading_order(places: Tensor, mask: Tensor) -> Tensor:
    """Indices `(B, N)` of objects from top to bottom and left to right, padding last.

    Draws go through objects in this order, so that they do not depend on how objects are listed.
    """
    by_x = places[..., 0].sort(dim=-1, stable=True).indices
    rows = places[..., 1].masked_fill(~mask, torch.inf).gather(-1, by_x)
    return by_x.gather(-1, rows.sort(dim=-1, stable=True).indices)


def pick(logits: Tensor, order: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw objects.

    Args:
        logits: `(B, P, N)`.
        order: of `reading_order`.
        uniform: `(B, P)` numbers in [0, 1).
        temperature: 0 takes the likeliest.

    Returns:
        `(B, P)` indices.
    """
    around = order[:, None].expand(-1, logits.shape[1], -1)
    ordered = logits.double().gather(-1, around)
    if temperature:
        odds = (ordered / temperature).softmax(-1).cumsum(-1)
        # Scaled by the total, so that rounding leaves no gap at its end.
        aim = uniform.double()[..., None] * odds[..., -1:]
        place = torch.searchsorted(odds, aim, right=True).clamp(max=logits.shape[-1] - 1)
    else:
        place = ordered.argmax(-1, keepdim=True)
    return around.gather(-1, place).squeeze(-1)


@torch.inference_mode()
def draw_paths(
    model: ScanpathModel,
    scene: Scene,
    goal: Goal,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    longest: int | None = None,
) -> Drawn:
    """Draw paths.

    Every picture has random numbers of its own from the same seed: what is drawn does not depend
    on the other pictures of the batch.

    Args:
        model: in evaluation mode.
        scene: of B pictures.
        goal: what each of P paths looks for.
        seed: of all draws.
        temperature: of the choice among objects, and of durations and places in boxes; 0 takes
            the likeliest. Ends are always drawn at temperature 1.
        longest: most fixations; the model's own limit when None.
    """
    encoded = model.encode(scene)
    limit = model.config.longest if longest is None else longest
    paths, count = goal.match.shape[1:]
    shape = (len(scene.places), paths)
    noise = _noise(seed, limit, paths).to(scene.places)
    order = reading_order(scene.places, scene.mask)
    state = _State(shape, count, scene.places.device)
    alive = torch.ones(shape, dtype=torch.bool, device=scene.places.device)
    ends = torch.zeros(shape).to(scene.places)
    rows: dict[str, list[Tensor]] = {k: [] for k in ("o", "d", "xy", "p", "s", "m")}
    kept: list[KeyValue] | None = None
    for step in range(limit + 1):
        logits, hidden, kept = model(encoded, goal, state.steps(step), kept)
        where, log = logits[:, :, 0, :-1], logits[:, :, 0].float().log_softmax(-1)
        if step == 0:  # there is no path without a fixation
            log = torch.cat((where.float().log_softmax(-1), log[..., -1:] - torch.inf), -1)
        stop = log[..., -1].exp()
        rows["s"].append(stop)
        draw = noise[step].expand(*shape, 5)
        ended = alive & (draw[..., 1] < stop if temperature else stop > 0.5)
        ends = torch.where(ended, log[..., -1], ends)
        alive = alive & ~ended
        if step == limit or not alive.any():
            break
        chosen = pick(where, order, draw[..., 0], temperature)
        duration, offset = _land(model, encoded, hidden, chosen, draw[..., 2:], temperature)
        share = log[..., :-1].exp() * alive[..., None]
        rows["m"].append(share.sum(1) / alive.sum(1, keepdim=True).clamp(min=1))
        rows["p"].append(log.gather(-1, chosen[..., None]).squeeze(-1) * alive)
        chosen = torch.where(alive, chosen, -1)
        rows["o"].append(chosen)
        rows["d"].append(duration)
        rows["xy"].append(offset)
        state.visit(step, chosen, duration)
    return Drawn(
        torch.stack(rows["o"], -1),
        torch.stack(rows["d"], -1),
        torch.stack(rows["xy"], -2),
        torch.stack(rows["p"], -1),
        torch.stack(rows["s"], -1),
        torch.stack(rows["m"], 1),
        ~alive,
        ends,
    )


def _noise(seed: int, limit: int, paths: int) -> Tensor:
    """Numbers in [0, 1) for each step and path: choice, end, and three for time and place.

    Each path has its own, whatever their number and the longest path allowed.
    """
    each = []
    for path in range(paths):
        generator = torch.Generator().manual_seed((seed << 20) + path)
        each.append(torch.rand(limit + 1, 5, generator=generator, dtype=torch.float64))
    return torch.stack(each, 1)


def _land(
    model: ScanpathModel,
    encoded: Encoded,
    hidden: Tensor,
    chosen: Tensor,
    uniform: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Durations `(B, P)` in ms and offsets `(B, P, 2)` of the chosen objects' fixations."""
    mean, spread = model.land(encoded, hidden, chosen[..., None])
    normal = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6)).to(mean)
    value = mean[:, :, 0].float() + temperature * spread[:, :, 0].float() * normal
    duration = value[..., 0].exp()
    if not model.config.durations:
        duration = torch.full_like(duration, torch.nan)
    return duration, value[..., 1:].clamp(-0.95, 0.95)


class _State:
    """What the decoder must know of the steps drawn so far."""

    def __init__(self, shape: tuple[int, int], count: int, device: torch.device) -> None:
        self.current = torch.full(shape, -1, device=device)
        self.duration = torch.zeros(shape, device=device)
        self.elapsed = torch.zeros(shape, device=device)
        self.last = torch.zeros(*shape, count, dtype=torch.long, device=device)
        self.visits = torch.zeros_like(self.last)

    def steps(self, number: int) -> Steps:
        """The one step to take next, in the form the model takes."""
        return Steps(
            self.current[..., None],
            self.duration[..., None],
            self.elapsed[..., None],
            torch.tensor([number], device=self.current.device),
            self.last[:, :, None],
            self.visits[:, :, None],
        )

    def visit(self, number: int, chosen: Tensor, duration: Tensor) -> None:
        """Take note of objects `(B, P)` fixated after step `number`; -1 for none."""
        here = F.one_hot(chosen.clamp(min=0), self.last.shape[-1]) * (chosen >= 0)[..., None]
        self.last = torch.where(here > 0, number + 1, self.last)
        self.visits = self.visits + here
        self.current, self.duration = chosen, duration
        self.elapsed = self.elapsed + duration.nan_to_num()
