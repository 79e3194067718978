"""The declaration of the task of finding mistakes in procedures."""

from pathlib import Path

from vision.tasks.base import Option, Task
from vision.tasks.mistakes.settings import ALONE, ANTICIPATION, COMMON

TASK = Task(
    name="mistakes",
    verb="check",
    summary="Follow the steps of a procedure and flag those that should not come now",
    kind="stream",
    result="vision.tasks.mistakes.results:Checked",
    event="vision.tasks.mistakes.results:CheckedStep",
    predictor="vision.tasks.mistakes.predict:MistakeChecker",
    draw="vision.tasks.mistakes.draw:draw",
    digest="vision.tasks.mistakes.digest:digest",
    files="vision.tasks.mistakes.files:CheckFiles",
    alone="vision.tasks.mistakes.steps:alone",
    evaluate="vision.tasks.mistakes.evaluate:evaluate",
    report="vision.tasks.mistakes.report:print_report",
    train="vision.tasks.mistakes.train:train",
    demo="demos.check:tab",
    options=(*ANTICIPATION, *ALONE),
    eval_options=(
        Option("data", str, ..., "A shipped procedure with trials, or a file of executions"),
        Option("train", str, None, "More correct executions to learn from: a name or file"),
        Option(
            "anticipators", list, None, "Names, separated by commas; the embedded model if none"
        ),
        Option("videos", Path, None, "Folder of the executions' videos: recognise their steps"),
        *COMMON,
    ),
)
