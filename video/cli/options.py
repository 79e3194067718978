"""Options that commands share, and those of a task turned into parameters of its command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vision.tasks.base import Option

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]
Device = Annotated[
    str | None, typer.Option(help="Where to run, such as cpu or cuda:0", show_default=False)
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results")]
Weights = Annotated[
    str | None, typer.Option(help="Name (see `foveate weights`) or file", show_default=False)
]

OUTPUT = Path("foveate-out")
"""Where results go unless `--output` says otherwise."""


def parameter(option: Option) -> inspect.Parameter:
    """The keyword parameter that typer reads an option from."""
    least, most = option.bounds
    number = option.type in (int, float)
    kind: Any = str if option.type is list else option.type
    flag = f"--{option.name.replace('_', '-')}"
    info = typer.Option(
        flag,
        help=option.help,
        min=least if number else None,
        max=most if number else None,
        show_default=option.default not in (None, ..., False),
    )
    required = option.default is ...
    if option.default is None:
        kind = kind | None
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else option.default,
        annotation=Annotated[kind, info],
    )


def bind(
    function: Callable[..., None], *values: Any, options: Iterable[Option] = (), **defaults: Any
) -> Callable[..., None]:
    """A command of a function: its first values bound, its `**given` replaced by options.

    Args:
        function: takes some values, then its own parameters by keyword, and what the options are
            given in `**given`.
        values: its first ones.
        options: what `given` may hold.
        defaults: values for parameters of its own that the user may then leave out.
    """
    options = tuple(options)
    bound = partial(function, *values, **defaults)
    signature = inspect.signature(bound, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = own + [parameter(option) for option in options]
    lists = {option.name for option in options if option.type is list}

    def command(**given: Any) -> None:
        for name in lists:
            if given[name] is not None:
                given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
        bound(**given)

    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = function.__doc__
    return command
