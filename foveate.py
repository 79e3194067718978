"""Look where it matters: the public names of foveate, each imported on first use.

    from foveate import Detector
    detector = Detector.from_weights()
    (result,) = detector.predict([image])      # (H, W, 3) uint8 RGB

`import vision` (or this module and timm) registers the backbones with timm.
"""

from importlib import import_module
from typing import Any

EXPORTS = {
    "Action": "vision.tasks.localization.results",
    "Actions": "vision.tasks.localization.results",
    "Caption": "vision.tasks.captioning.results",
    "CaptionPredictor": "vision.tasks.captioning.predict",
    "Checked": "vision.tasks.mistakes.results",
    "CheckedStep": "vision.tasks.mistakes.results",
    "Detection": "vision.results",
    "Detections": "vision.results",
    "Detector": "vision.tasks.detection.predict",
    "FoveateError": "vision.errors",
    "Localizer": "vision.tasks.localization.predict",
    "Looker": "vision.tasks.scanpath.predict",
    "MistakeChecker": "vision.tasks.mistakes.predict",
    "Result": "vision.results",
    "Scanpath": "vision.tasks.scanpath.results",
    "Scanpaths": "vision.tasks.scanpath.results",
    "TASKS": "vision.tasks",
    "catalogue": "vision.catalogue",
    "get_task": "vision.tasks",
    "routed_attention": "kernels.bi_level_routing",
}
"""Public name -> module that holds it."""

__all__ = list(EXPORTS)


def check_packages() -> None:
    """Make sure that the packages found are foveate's own, whose names others use as well.

    Raises:
        ImportError: another distribution's package of the same name is found instead.
    """
    import kernels

    if getattr(kernels, "OWNER", None) != "foveate":
        raise ImportError(
            f"the package 'kernels' at {kernels.__file__} is not foveate's: "
            "run `pip uninstall kernels`, then reinstall foveate"
        )


def main() -> None:
    """Run the command line."""
    import sys

    try:
        check_packages()
    except ImportError as error:
        print(f"foveate: {error}", file=sys.stderr)
        sys.exit(2)
    from video.cli import main as run

    run()


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'foveate' has no attribute {name!r}")
    check_packages()
    value = getattr(import_module(EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *EXPORTS})


if __name__ == "__main__":
    main()
