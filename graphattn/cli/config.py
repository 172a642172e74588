"""`--config FILE.toml`: defaults of the options, and any other parameter of the estimator."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer

from graphattn.errors import InputError

_PARAMS = "graphattn.params"
# The runs decide these, so a file may not.
_FIXED = ("valid_fraction", "on_error")


def config_option(source: str) -> Any:
    """The option for a command that trains an estimator of a source of `graphattn.estimators.sources.SOURCES`."""

    def read(ctx: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            try:
                defaults, params = read_config(path, [str(param.name) for param in ctx.command.params], _hints(source))
            except InputError as error:
                raise typer.BadParameter(str(error)) from None
            ctx.default_map = defaults
            ctx.meta[_PARAMS] = params
        return path

    return typer.Option(
        metavar="FILE.toml",
        is_eager=True,
        callback=read,
        help="Defaults of these options, and parameters of the estimator such as channels or dropout; the command line wins.",
    )


def estimator_params(ctx: typer.Context, **given: Any) -> dict[str, Any]:
    """The parameters of the estimator that the config file and the command line set; None counts as not given."""
    return {**ctx.meta.get(_PARAMS, {}), **{name: value for name, value in given.items() if value is not None}}


def read_config(path: Path, options: Sequence[str], hints: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a config file.

    Args:
        path: TOML with option names, with - or _, and parameters of the estimator.
        options: names of the options, with _.
        hints: parameters of the estimator → annotation.

    Returns:
        Defaults of the options, and parameters of the estimator.

    Raises:
        InputError: where the file cannot be read, or has an unknown key or a value of the wrong type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{path} is not valid TOML: it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    known = [name for name in options if name not in ("config", "help")]
    defaults: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name in known:
            if name == "na_values":  # the one option that may be repeated
                defaults[name] = value if isinstance(value, list) else [value]
            else:
                defaults[name] = ",".join(map(str, value)) if isinstance(value, list) else value
        elif name not in hints:
            names = ", ".join(sorted({*known, *hints}))
            raise InputError(f"{path} has the unknown key '{key}'; known are {names}")
        elif not _fits(value, hints[name]):
            wanted = hints[name].__name__ if isinstance(hints[name], type) else hints[name]
            raise InputError(f"{path}: {key} is {value!r}, but must be {wanted}".replace("collections.abc.", ""))
        else:
            params[name] = value
    return defaults, params


def _hints(source: str) -> dict[str, Any]:
    """The parameters of the estimators of a source → annotation."""
    from graphattn.estimators.params import PARAMS

    hints = get_type_hints(PARAMS[source])
    return {each.name: hints[each.name] for each in fields(PARAMS[source]) if each.name not in _FIXED}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value is of an annotation."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Sequence:
        return isinstance(value, list) and all(_fits(entry, parts[0]) for entry in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(_fits(entry, parts[1]) for entry in value.values())
    return type(value) in ((int, float) if hint is float else (hint,))
