"""The declaration of the detection task."""

from pathlib import Path

from vision.tasks.base import Option, Task

TASK = Task(
    name="detection",
    verb="detect",
    summary="Find objects and box them; with --track they keep an identity",
    kind="frame",
    result="vision.results:Detections",
    predictor="vision.tasks.detection.predict:Detector",
    draw="vision.tasks.detection.draw:draw",
    digest="vision.tasks.detection.digest:digest",
    evaluate="vision.tasks.detection.evaluate:evaluate",
    report="vision.tasks.detection.report:print_report",
    train="vision.tasks.detection.train:train",
    demo="demos.detect:tab",
    options=(
        Option("threshold", float, None, "Smallest score; the weights' own by default", (0, 1)),
        Option("classes", list, None, "Only these classes, separated by commas"),
    ),
    eval_options=(
        Option("annotations", Path, ..., "COCO instance file"),
        Option("images", Path, ..., "Uncompressed tar or folder with the pictures"),
        Option("device", str, None, "Where to run, such as cpu or cuda:0"),
        Option("half", bool, False, "Compute in bfloat16"),
    ),
    boxes=True,
)
