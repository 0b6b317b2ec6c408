"""Kinds of values and options that several commands of ``litefleet-packager`` have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from contract.manifest import Resize
from packager.settings import DEFAULT_KEYS, DEFAULT_TOKEN_FILE, KEYS_ENV, TOKEN_FILE_ENV

PATH = click.Path(path_type=Path)
_RESIZE = tuple(mode.value for mode in Resize)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Comma-separated finite numbers, one or one per channel."""

    name = "number[,number,number]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse, or fail with what was wrong."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, or three with commas between", param, ctx)
        if not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is not finite", param, ctx)
        return numbers


class Assignment(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Parse, or fail with what was wrong."""
        if isinstance(value, tuple):
            return value
        key, sign, text = str(value).partition("=")
        if not key or not sign:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


def _expand(_: click.Context, __: click.Parameter, value: Path) -> Path:
    return value.expanduser()


def keys_option(function: Any) -> Any:
    """``--keys``."""
    return click.option(
        "--keys", type=PATH, default=DEFAULT_KEYS, envvar=KEYS_ENV, show_default=True, show_envvar=True,
        callback=_expand, help="Folder of the publisher's private keys.",
    )(function)  # fmt: skip


def token_option(function: Any) -> Any:
    """``--token-file``."""
    return click.option(
        "--token-file", type=PATH, default=DEFAULT_TOKEN_FILE, envvar=TOKEN_FILE_ENV, show_default=True,
        show_envvar=True, callback=_expand, help="File with the publisher's token for the server.",
    )(function)  # fmt: skip


def fitting_options(function: Any) -> Any:
    """How images come to a model's size and channels."""
    options = (
        click.option(
            "--resize", type=click.Choice(_RESIZE),
            help="Bring images of other sizes to the model's, here and on the devices; else they are refused.",
        ),
        click.option("--pad", type=click.IntRange(0, 255), help="Pixel value that letterbox fills.  [default: 0]"),
        click.option("--bgr/--rgb", default=None, help="Order of the model's colour channels.  [default: rgb]"),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function
