"""The command to run next, with every option of this one that it takes as well, so that it finds the same study."""

import shlex
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer

ONCE = {"as_json", "extend", "quiet", "timeout", "trials", "verbose", "wait", "warm_start"}  # valid for one run only


def next_command(context: typer.Context, name: str, *more: object) -> str:
    """Return `pneumo NAME ARGUMENTS OPTIONS more` from what the command of `context` was given; passwords stay out.

    It has the arguments and options that both commands take, without values from the environment.
    """
    group: Any = context.find_root().command
    known = {parameter.name for parameter in group.get_command(context, name).params} - ONCE
    shared = [parameter for parameter in context.command.params if parameter.name in known]
    words = [word for parameter in shared for word in _words(context, parameter)]
    return shlex.join(["pneumo", name, *words, *map(str, more)])


def _words(context: typer.Context, parameter: Any) -> Iterator[str]:
    """Yield what was given on the command line for `parameter`."""
    source = context.get_parameter_source(parameter.name)
    if source is None or source.name != "COMMANDLINE":
        return
    value = context.params[parameter.name]
    for one in value if isinstance(value, list | tuple) else [value]:
        if parameter.param_type_name == "argument":
            yield _text(one)
        elif parameter.is_flag:
            yield (parameter.opts if one else parameter.secondary_opts)[0]
        else:
            yield from (parameter.opts[0], _without_password(one) if parameter.name == "storage" else _text(one))


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _without_password(storage: str) -> str:
    from search.storage.database import redacted

    return storage if storage.startswith(("env:", "file:")) else redacted(storage)
