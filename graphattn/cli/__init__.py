"""The command line: one file a command, each of which calls one function of the library; see `graphattn --help`.

Nothing heavy is imported before a command runs, so that help answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

import graphattn
from graphattn.cli import backends, datasets, demo, embed, evaluate, options, predict, train, warmup
from graphattn.cli.command import Command
from graphattn.cli.screen import complain


class _InOrder(TyperGroup):
    """Commands in the order in which a user meets them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return ["train", "predict", "evaluate", "embed", "datasets", "demo", "backends", "warmup"]


app = typer.Typer(
    help="Self-attention on graphs: one label for each person of a network, one value for each molecule.",
    epilog=options.example("graphattn train nodes --dataset karate --out runs/karate"),
    cls=_InOrder,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(train.app, name="train")
app.command("predict", cls=Command, epilog=predict.EXAMPLE)(predict.predict)
app.command("evaluate", cls=Command, epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("embed", cls=Command, epilog=embed.EXAMPLE)(embed.embed)
app.add_typer(datasets.app, name="datasets")
app.command("demo", cls=Command, epilog=demo.EXAMPLE)(demo.demo)
app.command("backends", cls=Command, epilog=backends.EXAMPLE)(backends.backends)
app.command("warmup", cls=Command, epilog=warmup.EXAMPLE)(warmup.warmup)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphattn {graphattn.__version__}")
        raise typer.Exit()


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process: 0 done; 1 bad rows under --strict; 2 bad input; 130 interrupted.

    Args:
        args: what stands after `graphattn`; default: the arguments of the process.
    """
    # Waiting threads must sleep: where other programs use the cores, spinning ones make small models a hundred times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if args is None else args)
    try:
        code = app(args=given or ["--help"], prog_name="graphattn", standalone_mode=False)
    except Exception as error:
        code = complain(error)
    sys.exit(code or 0)
