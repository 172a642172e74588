"""`graphattn warmup`."""

from __future__ import annotations

from typing import Annotated

import typer

from graphattn.cli import options
from graphattn.cli.screen import Screen
from graphattn.errors import InputError

EXAMPLE = options.example("graphattn warmup --heads 8 --channels 16 --score additive")

_FORM = "One form, instead of the common ones"


def warmup(
    heads: Annotated[int | None, typer.Option(min=1, help="Number of heads.", rich_help_panel=_FORM)] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of each head.", rich_help_panel=_FORM)] = None,
    score: Annotated[str, typer.Option(help="dot, additive or static.", rich_help_panel=_FORM)] = "dot",
    normaliser: Annotated[str, typer.Option(help="softmax, sigmoid or relu.", rich_help_panel=_FORM)] = "softmax",
    attention: Annotated[str, typer.Option(help="masked, full or linear.", rich_help_panel=_FORM)] = "masked",
    edge_dim: Annotated[
        int | None, typer.Option(min=1, help="Channels of the edge features, if there are any.", rich_help_panel=_FORM)
    ] = None,
    dropout: Annotated[bool, typer.Option("--dropout", help="With attention dropout as well.", rich_help_panel=_FORM)] = False,
    dtype: Annotated[str, typer.Option(help="float32, float64 or bfloat16.", rich_help_panel=_FORM)] = "float32",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compile the attention kernels ahead of their first use: a few minutes, once for each machine and version."""
    with Screen(quiet, debug) as screen:
        from graphattn.ops.cpu.store import store
        from graphattn.ops.warmup import warmup as compile_ahead

        folder, _, problem = store()
        if problem is not None:
            raise InputError(f"what is compiled could not be kept: {problem}; set GRAPHATTN_CACHE to a folder of your own")
        with screen.steps() as report:
            warmed = compile_ahead(
                heads,
                channels,
                score=score,
                normaliser=normaliser,
                attention=attention,
                edge_dim=edge_dim,
                dropout=dropout,
                dtype=dtype,
                progress=report,
            )
        for form, compiled, seconds in warmed:
            typer.echo(f"{form}: " + (f"{compiled} kernels in {seconds:.1f} s" if compiled else "kept already"))
        total, seconds = sum(each.compiled for each in warmed), sum(each.seconds for each in warmed)
        typer.echo(f"compiled {total} kernels in {seconds:.0f} s; kept in {folder}")
