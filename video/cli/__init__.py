"""The command line: `foveate`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import io
import sys

import typer

from video.cli import errors, lists, study, verbs, web
from vision.errors import FoveateError

app = typer.Typer(
    name="foveate",
    help="Look where it matters: perception on your pictures and videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
verbs.add_to(app)
study.add_to(app)
lists.add_to(app)
web.add_to(app)


def main() -> None:
    """Run `foveate`; mistakes of the user's give one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may not fit its encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except FoveateError as error:
        errors.say(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
