"""The declaration of the captioning task."""

from pathlib import Path

from vision.tasks.base import Option, Task

TASK = Task(
    name="captioning",
    verb="caption",
    summary="Describe pictures in a sentence, and box what it names",
    kind="frame",
    result="vision.tasks.captioning.results:Caption",
    predictor="vision.tasks.captioning.predict:CaptionPredictor",
    draw="vision.tasks.captioning.draw:draw",
    digest="vision.tasks.captioning.digest:digest",
    evaluate="vision.tasks.captioning.evaluate:evaluate",
    report="vision.tasks.captioning.report:print_report",
    train="vision.tasks.captioning.train:train",
    demo="demos.caption:tab",
    options=(
        Option("beam", int, 3, "Beginnings that are kept at each word; 1 is greedy", (1, 50)),
        Option("regions", Path, None, "JSON file of boxes to look at instead of detections"),
    ),
    every=2.0,
    files="vision.tasks.captioning.files:CaptionFiles",
    eval_options=(
        Option("annotations", Path, ..., "COCO file with captions and boxes"),
        Option("images", Path, ..., "Uncompressed tar or folder with the pictures"),
        Option(
            "train_annotations",
            Path,
            None,
            "Training captions, for the row nearest pictures",
        ),
        Option("train_images", Path, None, "Uncompressed tar or folder with their pictures"),
        Option("beam", int, 3, "Beginnings that are kept at each word", (1, 50)),
        Option("bootstrap", int, 1000, "Resamples for the intervals", (0, None)),
        Option("device", str, None, "Where to run, such as cpu or cuda:0"),
    ),
)
