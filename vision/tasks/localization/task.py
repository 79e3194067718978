"""The declaration of the localization task."""

from pathlib import Path

from vision.tasks.base import Option, Task

TASK = Task(
    name="localization",
    verb="localize",
    summary="Find what happens in a video, from when to when",
    kind="stream",
    result="vision.tasks.localization.results:Actions",
    event="vision.tasks.localization.results:Action",
    predictor="vision.tasks.localization.predict:Localizer",
    draw="vision.tasks.localization.draw:draw",
    digest="vision.tasks.localization.digest:digest",
    evaluate="vision.tasks.localization.evaluate:evaluate",
    report="vision.tasks.localization.report:print_report",
    train="vision.tasks.localization.train:train",
    demo="demos.localize:tab",
    options=(
        Option("threshold", float, None, "Smallest score; the weights' own by default", (0, 1)),
        Option("rate", float, None, "Frames a second to look at; at most the weights' own"),
        Option("live", bool, False, "Say actions right after their end, by a causal head"),
    ),
    files="vision.tasks.localization.files:LocalizationFiles",
    file_options=(
        Option("truth", Path, None, "ActivityNet annotations to show in the timeline picture"),
    ),
    eval_options=(
        Option("annotations", Path, ..., "ActivityNet-style annotation file"),
        Option("videos", Path, ..., "Folder of the videos"),
        Option("subset", str, None, "Of the annotations; validation, else all, by default"),
        Option("live", bool, False, "Measure the causal head"),
        Option("deduplicate", bool, False, "Count truth that is given twice once"),
        Option("device", str, None, "Where to run, such as cpu or cuda:0"),
    ),
)
