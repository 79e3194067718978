"""Options of a task turned into parameters of its command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from vision.tasks.base import Option


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


def with_options(function: Callable[..., None], options: Iterable[Option]) -> Callable[..., None]:
    """A command whose parameters are the function's own, its `**given` replaced by the options.

    Args:
        function: takes its own parameters by keyword and the options' values in `**given`.
        options: what `given` may hold.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [parameter(option) for option in options]
    lists = {option.name for option in options if option.type is list}

    def command(**values: Any) -> None:
        for name in lists:
            if values[name] is not None:
                values[name] = [part.strip() for part in values[name].split(",") if part.strip()]
        function(**values)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = function.__doc__
    return command
