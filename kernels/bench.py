"""Time and memory of the operators, and the means to measure anything else in the same way.

Forms of one thing run in turn in one process, on one thread; times are process time and medians,
so that other processes disturb them little. Memory is what PyTorch's allocator hands out, read from
the profiler: the most held at once above what was held before.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels.bi_level_routing import routed_attention


class Record(TypedDict):
    """One line of a benchmark."""

    subject: str
    form: str
    forward_ms: float
    total_ms: float | None  # forward and backward
    peak_mb: float
    machine: str


class Form(NamedTuple):
    """One way to compute something.

    `leaves` are what the backward differentiates with respect to; without any, only the forward
    runs, in inference mode.
    """

    run: Callable[[], Tensor]
    leaves: Sequence[Tensor] = ()


class Shape(NamedTuple):
    """A square feature map under bi-level routing."""

    side: int
    channels: int
    splits: int  # regions per side
    topk: int
    heads: int

    def __str__(self) -> str:
        return f"{self.side}x{self.side}x{self.channels} S{self.splits} k{self.topk}"


SHAPES = (
    Shape(56, 64, 7, 1, 2),
    Shape(112, 64, 14, 1, 2),
    Shape(28, 128, 7, 4, 4),
    Shape(14, 256, 7, 16, 8),
)
"""The routed stages of BiFormer-T at 224 x 224, and its first stage at 448 x 448."""


def measure(subject: str, forms: Mapping[str, Form], repeats: int = 5) -> list[Record]:
    """Measure all forms of a subject in turn, each timed run right after one that is not timed.

    Without that one a form pays for the memory and the caches that the form before it left.

    Args:
        subject: what the forms compute.
        forms: name -> form.
        repeats: timed runs per form; the median counts.
    """
    peaks = {name: peak_memory(partial(_step, form)) for name, form in forms.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            _step(form)
            times[name].append(_step(form))
    return [
        Record(
            subject=subject,
            form=name,
            forward_ms=round(1e3 * median(t[0] for t in times[name]), 3),
            total_ms=round(1e3 * median(t[1] for t in times[name]), 3) if form.leaves else None,
            peak_mb=round(peaks[name] / 1e6, 3),
            machine=machine(),
        )
        for name, form in forms.items()
    ]


def peak_memory(run: Callable[[], object]) -> int:
    """Bytes that PyTorch's CPU allocator holds at most during `run`, beyond those before it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        _quiet_profiler(),
        torch.profiler.profile(activities=activities, profile_memory=True) as profile,
    ):
        run()
    events = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on a single thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor, the threads in use and the version of PyTorch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def bench_core(shapes: Iterable[Shape] = SHAPES, repeats: int = 5) -> list[Record]:
    """Measure routed attention by itself: queries, keys, values and routes are given."""
    records = []
    with one_thread():
        for shape in shapes:
            records += measure(f"core {shape}", core_forms(shape), repeats)
    return records


def core_forms(shape: Shape) -> dict[str, Form]:
    """The published form, the definition, ours, and attention among all tokens, on one input."""
    generator = torch.Generator().manual_seed(0)
    regions, channels, heads = shape.splits**2, shape.channels, shape.heads
    tokens = (shape.side // shape.splits) ** 2
    scale = channels**-0.5
    query, key, value = (
        torch.randn(1, regions, tokens, channels, generator=generator) for _ in range(3)
    )
    key_value = torch.cat([key, value], dim=-1)  # how the published form holds them
    leaves = [x.requires_grad_() for x in (query, key, value)]
    key_value.requires_grad_()
    scores = torch.rand(1, regions, regions, generator=generator)
    index = scores.topk(shape.topk, dim=-1).indices

    def routed(backend: str) -> Callable[[], Tensor]:
        return lambda: routed_attention(query, key, value, index, heads, scale, backend=backend)

    def dense() -> Tensor:
        q, k, v = (
            x.view(1, -1, heads, channels // heads).transpose(1, 2) for x in (query, key, value)
        )
        return scaled_dot_product_attention(q, k, v, scale=scale)

    return {
        "published": Form(
            lambda: published_attention(query, key_value, index, heads, scale), [query, key_value]
        ),
        "reference": Form(routed("reference"), leaves),
        "cpu": Form(routed("cpu"), leaves),
        "dense": Form(dense, leaves),
    }


def published_attention(
    query: Tensor, key_value: Tensor, index: Tensor, heads: int, scale: float
) -> Tensor:
    """Routed attention in the way it was published, for comparison only.

    Keys and values of all regions are expanded once per query region and gathered from there, so
    that the backward fills a tensor of that expanded size.

    Args:
        query: (B, P, L, C). key_value: (B, P, L, C + D). index: (B, P, k).

    Source: BiFormer, section 3.3 and its first published code.
    """
    batch, regions, tokens, channels = query.shape
    width, topk = key_value.shape[-1], index.shape[-1]
    expanded = key_value.unsqueeze(1).expand(-1, regions, -1, -1, -1)
    places = index[..., None, None].expand(-1, -1, -1, tokens, width)
    gathered = torch.gather(expanded, 2, places).view(batch * regions, topk * tokens, width)
    key, value = (
        x.reshape(batch * regions, topk * tokens, heads, -1)
        for x in gathered.split([channels, width - channels], dim=-1)
    )
    query = query.reshape(batch * regions, tokens, heads, -1).transpose(1, 2)
    attention = ((query * scale) @ key.permute(0, 2, 3, 1)).softmax(dim=-1)
    out = attention @ value.transpose(1, 2)
    return out.transpose(1, 2).reshape(batch, regions, tokens, -1)


def _step(form: Form) -> tuple[float, float]:
    """Seconds of process time of the forward, and of forward and backward."""
    with torch.inference_mode(not form.leaves):
        start = time.process_time()
        out = form.run()
        forward = time.process_time() - start
    if form.leaves:
        cotangent = torch.ones_like(out)
        start = time.process_time()
        torch.autograd.grad(out, form.leaves, cotangent)
        return forward, forward + time.process_time() - start
    return forward, forward


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """Keep standard error free of the lines that the profiler logs there, whatever its level."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
