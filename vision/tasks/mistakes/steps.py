"""`foveate check` without a video: steps from a file, and new procedures."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation import DEFAULT, Anticipator, judge, make_anticipator
from vision.tasks.mistakes.anticipation.fallback import Fallback
from vision.tasks.mistakes.procedure import (
    Example,
    Procedure,
    load_procedure,
    merged,
    read_json,
)
from vision.tasks.mistakes.settings import settings_of
from vision.writing import write_whole


def procedure_from(options: Mapping[str, Any]) -> Procedure:
    """The procedure that a command's options ask for: what bears on the kind that is made.

    Args:
        options: `ANTICIPATION` of `settings.py` by name.

    Raises:
        FoveateError: no procedure is named, or it or the kind cannot be had.
    """
    if options.get("procedure") is None:
        raise FoveateError("which procedure? Name one with --procedure NAME or FILE")
    kind = tuple(options.get("kind") or ())
    procedure = load_procedure(options["procedure"])
    _check_kind(procedure, kind)
    return procedure.part(kind)


def anticipator_from(procedure: Procedure, options: Mapping[str, Any]) -> Anticipator:
    """What judges the steps of a procedure, as a command's options ask for.

    Args:
        procedure: of `procedure_from`.
        options: `ANTICIPATION` of `settings.py` by name.

    Raises:
        FoveateError: the anticipator cannot be had.
    """
    kind = tuple(options.get("kind") or ())
    name = options.get("anticipator") or DEFAULT
    if name == DEFAULT or not options.get("fallback"):
        return _make(name, procedure, options).of_kind(kind)
    default = _make(DEFAULT, procedure, options)
    try:
        made: Anticipator = Fallback(_make(name, procedure, options), default)
    except FoveateError as error:
        print(f"foveate: {error}; going on with {DEFAULT!r}", file=sys.stderr)
        made = default
    return made.of_kind(kind)


def _make(name: str, procedure: Procedure, options: Mapping[str, Any]) -> Anticipator:
    """An anticipator with its settings and, where one is given, the user's threshold."""
    made = make_anticipator(name, procedure, **settings_of(name, options))
    threshold = options.get("threshold")
    if threshold is not None:
        if math.isnan(threshold):
            raise FoveateError("a threshold must be a number")
        made.threshold = threshold
    return made


def _check_kind(procedure: Procedure, kind: tuple[str, ...]) -> None:
    """Refuse what the procedure has nothing of; unknown kinds beside known ones are new ones."""
    known = _kinds(procedure)
    if kind and not set(kind) & set(known):
        few, more = "; ".join(known[:8]) or "none", len(known) - 8
        rest = f"; and {more} more, see `foveate check --procedure NAME`" if more > 0 else ""
        raise FoveateError(f"{procedure.name} has no kind {kind[-1]!r}; it has: {few}{rest}")


def _kinds(procedure: Procedure) -> list[str]:
    return list(dict.fromkeys(k for e in procedure.examples for k in e.kind))


def alone(output: Path, weights: str | None, device: str | None, **options: Any) -> None:
    """Check lists of steps, make a procedure of them, or say what a procedure has.

    Args:
        output: folder for the results: `NAME-steps.jsonl`, a line for each step.
        weights: recogniser of the videos in `--examples`.
        device: where it runs.
        options: `ANTICIPATION` and `ALONE` of `settings.py` by name.

    Raises:
        FoveateError: no steps given, or a file that holds none.
    """
    if options.get("new_procedure") is not None:
        _write_procedure(Path(options["new_procedure"]), weights, device, options)
    elif options.get("steps") is not None:
        _check_file(Path(options["steps"]), output, options)
    elif options.get("procedure") is not None:
        _print_procedure(options)
    else:
        raise FoveateError("give a video to check, or a file of steps by --steps")


def _print_procedure(options: Mapping[str, Any]) -> None:
    """Print the kinds that there are, a line each; with a kind, or without any, the steps."""
    procedure, kind = load_procedure(options["procedure"]), set(options.get("kind") or ())
    _check_kind(procedure, tuple(kind))
    examples = [e for e in procedure.examples if kind & set(e.kind)]
    lines = dict.fromkeys(s for e in examples for s in e.steps) or _kinds(procedure)
    print("\n".join(lines or procedure.steps))


def _write_procedure(
    path: Path, weights: str | None, device: str | None, options: Mapping[str, Any]
) -> None:
    if path.exists():
        raise FoveateError(f"{path} is there already: name another file, or remove it")
    kind = tuple(options.get("kind") or ())
    if options.get("examples"):
        from vision.tasks.mistakes.examples import recognise

        made = recognise(path.stem, [Path(p) for p in options["examples"]], kind, weights, device)
        for example in made.examples:
            print(f"{example.id}: {', '.join(example.steps)}")
    elif options.get("steps") is not None:
        made = new_procedure(path.stem, read_steps(Path(options["steps"])), kind=kind)
    else:
        raise FoveateError("a procedure is made from --steps FILE or --examples VIDEO,VIDEO")
    made.save(path)
    note = f"; {made.note}" if made.note else ""
    print(f"{len(made.examples)} executions, see {path}{note}")


def _check_file(source: Path, output: Path, options: Mapping[str, Any]) -> None:
    path = output / f"{source.stem}-steps.jsonl"
    _claim(path)
    sequences = read_steps(source)
    procedure = procedure_from(options)
    anticipator = anticipator_from(procedure, options)
    lines, flagged = [], 0
    for number, steps in enumerate(sequences):
        for record in check_steps(anticipator, steps, procedure.background):
            lines.append(json.dumps({"execution": number, **record}, ensure_ascii=False))
            flagged += record["mistake"]
            if record["mistake"]:
                print(_line(number, record))
    for warning in anticipator.warnings():
        print(f"foveate: {warning}", file=sys.stderr)
    write_whole(path, "\n".join(lines) + "\n")
    print(f"{len(lines)} steps checked, {flagged} flagged, see {path}")


def _claim(path: Path) -> None:
    """Refuse to write over what is no list of checked steps."""
    try:
        text = path.read_text(encoding="utf-8")
        ours = not text.strip() or {"execution", "why"} <= json.loads(text.split("\n")[0]).keys()
    except FileNotFoundError:
        return
    except OSError as error:  # such as too long a name
        raise FoveateError(f"cannot write {path}: {error.strerror}") from None
    except (ValueError, AttributeError, RecursionError):  # other text, other JSON
        ours = False
    if not ours:
        raise FoveateError(f"{path} is not foveate's to replace; choose another output")


def check_steps(
    anticipator: Anticipator, steps: Sequence[str], background: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Judge each step of an execution by those before it.

    Args:
        anticipator: what is expected.
        steps: names, in order; a step that follows itself counts once.
        background: names that are no steps, passed over.

    Returns:
        For each step its `place`, `step`, `mistake`, `surprise` (None where infinite), `expected`
        (the three likeliest) and `why`.
    """
    done = merged(s for s in steps if s not in background)
    records = []
    for place, step in enumerate(done):
        verdict = judge(anticipator, done[:place], step)
        finite = math.isfinite(verdict.surprise)
        records.append(
            {
                "place": place,
                "step": step,
                "mistake": verdict.mistake,
                "surprise": round(verdict.surprise, 4) if finite else None,
                "expected": [{"step": s, "probability": round(p, 4)} for s, p in verdict.expected],
                "why": verdict.why,
            }
        )
    return records


def read_steps(path: Path) -> list[list[str]]:
    """Executions from a JSON file: a list of steps, or a list of such lists.

    Returns:
        Names of the steps of each execution; one that follows itself is there once.

    Raises:
        FoveateError: the file holds something else, or nothing.
    """
    content = read_json(path)
    several = isinstance(content, list) and content and all(isinstance(x, list) for x in content)
    try:
        return [list(Example(steps=row).steps) for row in (content if several else [content])]
    except ValidationError:
        wanted = '["first", "second"], or a list of such lists'
        raise FoveateError(f"{path} must hold steps, {wanted}") from None


def new_procedure(
    name: str, sequences: Sequence[Sequence[str]], *, kind: Sequence[str] = ()
) -> Procedure:
    """A procedure of correct executions.

    Args:
        name: what users will call it.
        sequences: names of the steps of each execution.
        kind: what was made in all of them.
    """
    examples = [{"steps": list(steps), "kind": tuple(kind)} for steps in sequences]
    return Procedure.model_validate({"name": name, "examples": examples})


def _line(number: int, record: Mapping[str, Any]) -> str:
    expected = ", ".join(e["step"] for e in record["expected"]) or "nothing"
    place = f"execution {number + 1}, step {record['place'] + 1}"
    return f"{place}: {record['step']!r} looks wrong: {record['why']} (expected: {expected})"
