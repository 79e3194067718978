"""Options with which users choose and set an anticipator; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision.tasks.base import Option

COMMON = (
    Option("alpha", float, None, "Share of correct steps that may be flagged", (0, 1)),
    Option("symbols", str, "alpha", "How prompts write steps: num, alpha or emoji"),
    Option("template", str, "default", "Wording of prompts: default, toy, unreferenced, ..."),
    Option("shots", str, "same", "Examples in prompts: of the same kind, class, all or none"),
    Option("reason", bool, False, "Let the language model think first (two calls)"),
    Option("samples", int, 5, "Answers drawn from the language model", (1, 100)),
    Option("llm", str, None, "Language model: its name at the server, or a folder or GGUF file"),
    Option("llm_url", str, None, "Server of the language model (OpenAI-compatible)"),
    Option("timeout", float, 30.0, "Seconds to wait for the language model", (0.1, None)),
)
"""Settings of anticipators."""

ANTICIPATION = (
    Option("procedure", str, None, "A shipped procedure or a JSON file; alone, lists its kinds"),
    Option("kind", list, None, "What is being made, as the examples of the procedure call it"),
    Option(
        "threshold", float, None, "Surprise above which a step is flagged; else learnt", (0, None)
    ),
    Option("anticipator", str, None, "What judges the steps; by default the embedded model"),
    Option("fallback", bool, False, "Go on with the embedded model where a language model fails"),
    *COMMON,
)
"""Options of `foveate check` that say what steps are held against."""

ALONE = (
    Option("steps", Path, None, "Check the steps in this JSON file instead of a video"),
    Option("new_procedure", Path, None, "Write a procedure made from --steps or --examples"),
    Option("examples", list, None, "Videos of correct executions, for --new-procedure"),
)
"""Options of `foveate check` that need no source."""

LEARNT = ("alpha",)
PROMPTED = ("symbols", "template", "shots", "reason", "samples", "llm")
SETTINGS = {
    "choice": LEARNT,
    "mixture": LEARNT,
    "n-gram": LEARNT,
    "transformer": LEARNT,
    "openai": (*PROMPTED, "llm_url", "timeout"),
    "transformers": (*PROMPTED, "alpha"),
}
"""Anticipator -> those of the options that it takes as keywords."""


def settings_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's options those that the anticipator `name` takes and the user gave."""
    return {
        option: options[option]
        for option in SETTINGS.get(name, ())
        if options.get(option) is not None
    }
