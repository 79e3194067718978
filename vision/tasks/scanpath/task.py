"""The declaration of the scanpath task."""

from pathlib import Path

from vision.tasks.base import Option, Task

TASK = Task(
    name="scanpath",
    verb="look",
    summary="Predict how people look at a picture: where, in which order, for how long",
    kind="frame",
    result="vision.tasks.scanpath.results:Scanpaths",
    predictor="vision.tasks.scanpath.predict:Looker",
    draw="vision.tasks.scanpath.draw:draw",
    digest="vision.tasks.scanpath.digest:digest",
    evaluate="vision.tasks.scanpath.evaluate:evaluate",
    report="vision.tasks.scanpath.report:print_report",
    train="vision.tasks.scanpath.train:train",
    demo="demos.look:tab",
    every=2.0,
    files="vision.tasks.scanpath.files:LookFiles",
    options=(
        Option("target", str, None, "What is looked for: a label, x1,y1,x2,y2 or a picture of it"),
        Option("objects", str, "grid", "What can be looked at: grid, detector or a JSON file"),
        Option("samples", int, 5, "Paths drawn for each picture", (1, 200)),
        Option("seed", int, 0, "Of all draws", (0, 2**32)),
        Option("temperature", float, None, "Of draws; the weights' own by default", (0, 10)),
    ),
    file_options=(
        Option("animation", str, None, "Also write the first path as it goes: gif or mp4"),
        Option("heatmap", bool, False, "Also write where each step may go"),
    ),
    eval_options=(
        Option("data", Path, ..., "Scanpaths of viewers, JSON"),
        Option("images", Path, None, "Folder of the pictures; the data's own by default"),
        Option("samples", int, 20, "Paths drawn for each picture", (1, 200)),
        Option("seed", int, 0, "Of all draws", (0, 2**32)),
        Option("temperature", float, None, "Of draws; the weights' own by default", (0, 10)),
        Option("device", str, None, "Where to run, such as cpu or cuda:0"),
    ),
)
