"""Evaluation data: the formats of public sets of step sequences, read as procedures with trials.

Every trial ends with its first mistake, as in the published protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vision.errors import FoveateError
from vision.tasks.mistakes.procedure import (
    Example,
    Procedure,
    Trial,
    load_procedure,
    parse_procedure,
    procedure_names,
    read_json,
)

COOKING = "captaincook4d"
"""The shipped procedure whose examples bear on any recording of CaptainCook4D."""

OTHER_STEP = "something not in the instructions"


def load_benchmark(data: str | Path, train: str | Path | None = None) -> Procedure:
    """Read what is to be measured.

    Args:
        data: name of a shipped procedure with trials, or a file: a procedure with `trials`, or one
            in the format of Assembly101-O and Epic-tent-O (`classes`, `train`, `test`, or the
            classes under `meta`), CaptainCook4D (`recordings`) or EgoOops (`instructions`).
        train: another name or file of these kinds, whose correct executions are learnt from too.

    Returns:
        Examples to learn from and trials, each cut after its first mistake.

    Raises:
        FoveateError: nothing to read, nothing to learn from, or nothing to measure on.
    """
    read = _read(data)
    examples = list(read.examples) if read.examples else []
    more = [_read(train)] if train is not None else []
    if _is_cooking(data) and COOKING in procedure_names():
        more.append(load_procedure(COOKING))
    known = {e.id for e in examples if e.id}
    for other in more:
        examples += [e for e in other.examples if e.id not in known]
        known |= {e.id for e in other.examples if e.id}
    if not examples:
        raise FoveateError(f"{data} has no correct executions to learn from: name some by --train")
    if not read.trials:
        raise FoveateError(f"{data} has no executions with mistakes to measure on")
    names = (
        *read.steps,
        *(s for o in more for s in o.steps),
        *(s for e in examples for s in e.steps),
    )
    steps = tuple(dict.fromkeys(names))
    return Procedure(name=str(data), examples=tuple(examples), steps=steps, trials=read.trials)


def _is_cooking(data: str | Path) -> bool:
    path = Path(data)
    return path.suffix == ".json" and "recordings" in read_json(path)


def _read(data: str | Path) -> Procedure:
    path = Path(data)
    if path.suffix != ".json":
        return load_procedure(data)
    content = read_json(path)
    try:
        if not isinstance(content, dict):
            raise FoveateError(f"{path} is no evaluation data: it must hold a JSON object")
        if "recordings" in content:
            return _cooking(path.stem, content)
        if "instructions" in content:
            return _instructions(path.stem, content)
        if "train" in content or "test" in content:
            return _labelled(path.stem, content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FoveateError(f"{path} is no evaluation data of a known kind: {why}") from None
    return parse_procedure(content, path)


def _labelled(name: str, content: dict[str, Any]) -> Procedure:
    """Assembly101-O, Epic-tent-O: sequences of class ids, test sequences end with the mistake."""
    classes = {int(k): v for k, v in (content.get("classes") or content["meta"]["classes"]).items()}
    families = content.get("toy_to_class", {})

    def kind(record: dict[str, Any]) -> tuple[str, ...]:
        toy = record.get("toy")
        if toy is None:
            return ()
        family = record.get("toy_class", families.get(toy))
        kit = toy.rstrip("abcdef") if toy[-2:-1].isdigit() else toy  # one kit makes several toys
        return tuple(dict.fromkeys(k for k in (family, kit, toy) if k))

    def steps(record: dict[str, Any]) -> tuple[str, ...]:
        return tuple(classes[label] for label in record["labels"])

    return _procedure(
        name,
        (Example(steps=steps(r), id=r["id"], kind=kind(r)) for r in content.get("train", ())),
        (
            Trial(steps=steps(r), mistakes=(len(r["labels"]) - 1,), id=r["id"], kind=kind(r))
            for r in content.get("test", ())
        ),
        classes.values(),
    )


def _cooking(name: str, content: dict[str, Any]) -> Procedure:
    """CaptainCook4D: recordings without errors, and order errors in those with some."""
    examples, trials = [], []
    texts = {int(k): _tidy(v) for k, v in content["step_text"].items()}
    for record in content["recordings"]:
        rows = sorted((r for r in record["steps"] if r[1] >= 0), key=lambda row: row[1])
        names = tuple(texts[row[0]] for row in rows)
        about = {"id": record["id"], "kind": (record["activity"],)}
        if not record["is_error"]:
            examples.append(Example(steps=names, **about))
            continue
        wrong = [i for i, row in enumerate(rows) if any(tag == "Order Error" for tag, _ in row[4])]
        if wrong:
            trials.append(Trial(steps=names[: wrong[0] + 1], mistakes=(wrong[0],), **about))
    return _procedure(name, examples, trials, ())


def _tidy(text: str) -> str:
    """'Coat -Coat a cup' as 'Coat a cup'; 'Add-1/4 tsp salt' as 'Add 1/4 tsp salt'."""
    verb, dash, rest = (part.strip() for part in text.partition("-"))
    if not dash or rest.lower().startswith(verb.lower()):
        return rest or verb
    return f"{verb} {rest}"


def _instructions(name: str, content: dict[str, Any]) -> Procedure:
    """EgoOops: written instructions, videos aligned with them, several kinds of mistakes."""
    written = content["instructions"]
    examples = [
        Example(steps=tuple(texts), id=f"instructions of {task}", kind=(task,))
        for task, texts in written.items()
    ]
    trials = []
    for video in content["videos"]:
        rows, task = video["segments"], video["task"]
        names = tuple(written[task][row[0]] if row[0] >= 0 else OTHER_STEP for row in rows)
        wrong = [i for i, row in enumerate(rows) if row[3]]
        about = {"id": video["id"], "kind": (task,)}
        if wrong:
            trials.append(Trial(steps=names[: wrong[0] + 1], mistakes=(wrong[0],), **about))
        else:
            examples.append(Example(steps=names, **about))
    return _procedure(name, examples, trials, ())


def _procedure(
    name: str, examples: Iterable[Example], trials: Iterable[Trial], steps: Iterable[str]
) -> Procedure:
    """A procedure that may still lack examples: `load_benchmark` adds those of another file."""
    found: Sequence[Example] = tuple(examples)
    names = dict.fromkeys([*steps, *(s for e in found for s in e.steps)])
    return Procedure.model_construct(
        name=name, examples=tuple(found), steps=tuple(names), trials=tuple(trials)
    )
