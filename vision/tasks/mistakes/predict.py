"""The checker that users call: frames in, steps and flags out, while the video plays."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.features import Ticks
from vision.results import Frame
from vision.tasks.mistakes.aggregate import Aggregator, Windows, window_frames
from vision.tasks.mistakes.anticipation import Anticipator, judge
from vision.tasks.mistakes.encoders import EncoderConfig, make_encoder
from vision.tasks.mistakes.procedure import Procedure
from vision.tasks.mistakes.recognition import MiniROAD, RecognizerConfig, load_recognizer
from vision.tasks.mistakes.results import Checked, CheckedStep, Expected
from vision.tasks.mistakes.settings import ALONE
from vision.tasks.mistakes.steps import anticipator_from, procedure_from

LONGEST_GAP = 10.0
"""Seconds without a frame for which the last one stands; a longer gap counts as one of these."""


@dataclass(frozen=True)
class CheckerConfig:
    """What a recogniser's weights were made for.

    Args:
        model: architecture.
        encoder: what it sees of a frame.
        windows: kind of window that turns frames into steps.
        window: its length in seconds.
        classes: names, in the model's order.
        background: classes that are no step.
    """

    model: RecognizerConfig
    encoder: EncoderConfig
    windows: Windows
    window: float
    classes: tuple[str, ...]
    background: tuple[str, ...] = ()


class MistakeChecker:
    """Recognises the steps of a procedure in a video and flags those that should not come now.

    Call `begin` for each video, `update` with its frames in any portions, and `finish`. What it
    says of a step rests on the frames up to then and is never taken back.

    Args:
        model: a recogniser.
        config: what it was made for.
        name: of its weights.
        note: what they were trained on.
        device: where it runs, such as `"cpu"` or `"cuda:0"`.
        half: whether to compute in bfloat16.
    """

    def __init__(
        self,
        model: MiniROAD,
        config: CheckerConfig,
        *,
        name: str = "",
        note: str = "",
        device: str | torch.device = "cpu",
        half: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.config, self.name, self.note, self.half = config, name, note, half
        self.encoder = make_encoder(config.encoder, str(device))
        self._video: _Video | None = None

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        """Load shipped weights by name, or a file of the same kind by path.

        Args:
            weights: name in the catalogue or path of a `.safetensors` file; the default of the
                task when None.
            device: where to run; the best there is when None.
            half: whether to compute in bfloat16.

        Raises:
            FoveateError: no such weights, not a recogniser's, or no such device.
        """
        loaded = open_weights(weights, task="mistakes")
        config = loaded.config(CheckerConfig)
        model = MiniROAD(config.model)
        load_recognizer(model, loaded.tensors, loaded.name)
        return cls(
            model,
            config,
            name=loaded.name,
            note=str(loaded.metadata.get("data", "")),
            device=pick_device(device),
            half=half,
        )

    def begin(self, **options: Any) -> None:
        """Begin a video.

        Args:
            options: what steps are held against: `procedure` (a name or file) and, where wanted,
                `kind`, `threshold`, `anticipator`, `fallback` and its settings: the options of
                `foveate check`, see `anticipator_from`.

        Raises:
            FoveateError: no procedure, one whose steps the recogniser does not know, or an option
                that only holds without a video.
        """
        for option in ALONE:
            if options.get(option.name):
                flag = option.name.replace("_", "-")
                raise FoveateError(f"--{flag} is for use without a video: leave one of them out")
        procedure = procedure_from(options)
        unknown = sorted(set(procedure.steps) - set(self.config.classes))
        if unknown:
            raise FoveateError(
                f"the recogniser {self.name!r} does not know the step {unknown[0]!r} of "
                f"{procedure.name!r}: give --weights that were trained on its videos"
            )
        self._video = _Video(
            procedure,
            anticipator_from(procedure, options),
            {*self.config.background, *procedure.background},
            Ticks(self.encoder.rate),
            Aggregator(window_frames(self.config.window, self.encoder.rate), self.config.windows),
        )

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[CheckedStep]:
        """Take the next frames and return the steps that became known with them.

        Args:
            frames: `(H, W, 3)` uint8 RGB each.
            times: of each, in seconds.

        Raises:
            FoveateError: no video was begun.
        """
        video = self._begun()
        most = math.ceil(LONGEST_GAP * self.encoder.rate)
        counts = [min(video.ticks.take(time), most) for time in times]
        video.see(times)
        looked = [(f, t, n) for f, t, n in zip(frames, times, counts, strict=True) if n]
        if not looked:
            return []
        seen = self.encoder.look([frame for frame, _, _ in looked])
        repeats = [n for _, _, n in looked]
        scores = self._recognise(np.repeat(seen, repeats, axis=0), video)
        stamps = np.repeat([time for _, time, _ in looked], repeats)
        return [
            step
            for score, time in zip(scores, stamps.tolist(), strict=True)
            for step in self._take(video, score, time)
        ]

    def finish(self) -> Checked:
        """All steps of the video, those too that only its end makes known.

        Raises:
            FoveateError: no video was begun, or it had no frames.
        """
        video = self._begun()
        if video.first is None or video.last is None:
            raise FoveateError("there were no frames to check")
        self._aggregated(video, video.aggregator.finish(), video.last)
        video.close(video.last)
        self._video = None
        warnings = video.anticipator.warnings()
        for warning in warnings:
            print(f"foveate: {warning}", file=sys.stderr)
        return Checked(
            procedure=video.procedure.name,
            weights=self.name,
            note="; ".join(filter(None, (self.note, video.procedure.note, *warnings))),
            threshold=video.anticipator.threshold,
            start=video.first,
            end=video.last,
            steps=video.steps,
        )

    def _begun(self) -> _Video:
        if self._video is None:
            raise FoveateError("begin a video first")
        return self._video

    @torch.inference_mode()
    def _recognise(self, looks: np.ndarray, video: _Video) -> np.ndarray:
        """Class probabilities `(N, K)` of the next looks."""
        features, video.encoded = self.encoder.encode(looks, video.encoded)
        batch = torch.from_numpy(features)[None].to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found = self.model(batch, video.state)
        video.state = found.state
        scores: np.ndarray = found.logits[0].float().softmax(-1).cpu().numpy()
        return scores

    def _take(self, video: _Video, score: np.ndarray, time: float) -> list[CheckedStep]:
        video.waiting.append((time, score))
        return self._aggregated(video, video.aggregator.update(int(score.argmax())), time)

    def _aggregated(self, video: _Video, labels: list[int], now: float) -> list[CheckedStep]:
        """Follow the labels that became final at `now`; returns the steps that begin with them."""
        begun = []
        frames = [video.waiting.popleft() for _ in labels]
        for n, (label, (time, _)) in enumerate(zip(labels, frames, strict=True)):
            if label == video.label:
                continue
            video.close(time)
            video.label = label
            name = self.config.classes[label]
            if name in video.background or video.goes_on(name):
                continue
            shares = [
                float(score[label])
                for other, (_, score) in zip(labels[n:], frames[n:], strict=True)
                if other == label
            ]
            begun.append(video.judge(name, time, now, float(np.mean(shares))))
        return begun


class _Video:
    """What is remembered of the video that plays: the open window, and its steps."""

    def __init__(
        self,
        procedure: Procedure,
        anticipator: Anticipator,
        background: set[str],
        ticks: Ticks,
        aggregator: Aggregator,
    ) -> None:
        self.procedure, self.anticipator = procedure, anticipator
        self.background, self.ticks, self.aggregator = background, ticks, aggregator
        self.waiting: deque[tuple[float, np.ndarray]] = deque()
        self.encoded: Any = None
        self.state: torch.Tensor | None = None
        self.label: int | None = None
        self.steps: list[CheckedStep] = []
        self.first: float | None = None
        self.last: float | None = None

    def see(self, times: Sequence[float]) -> None:
        """Note when the video began and how far it is."""
        if len(times):
            self.first = times[0] if self.first is None else self.first
            self.last = times[-1]

    def close(self, time: float) -> None:
        """The step that is being done, if any, ends here."""
        if self.steps and self.steps[-1].end is None:
            self.steps[-1] = self.steps[-1].model_copy(update={"end": round(time, 3)})

    def goes_on(self, name: str) -> bool:
        """Whether the last step is of that name; after a pause it then goes on."""
        if not self.steps or self.steps[-1].step != name:
            return False
        self.steps[-1] = self.steps[-1].model_copy(update={"end": None})
        return True

    def judge(self, name: str, start: float, said: float, score: float) -> CheckedStep:
        """Hold a step that begins against those before it."""
        history = [step.step for step in self.steps]
        verdict = judge(self.anticipator, history, name)
        step = CheckedStep(
            step=name,
            start=round(start, 3),
            said=round(said, 3),
            score=round(score, 4),
            mistake=verdict.mistake,
            surprise=round(verdict.surprise, 4) if math.isfinite(verdict.surprise) else None,
            expected=[
                Expected(step=s, probability=round(min(p, 1.0), 4)) for s, p in verdict.expected
            ],
            why=verdict.why,
        )
        self.steps.append(step)
        return step
