"""`graphattn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphattn.cli import options
from graphattn.cli.screen import Screen
from graphattn.cli.train import show_run

EXAMPLE = options.example("graphattn demo --out runs/demo")


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write to; runs of this demo in it are replaced.")
    ] = Path("runs/demo"),
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Do both jobs on data that is already on this machine: about a minute on two cores, nothing is downloaded."""
    with Screen(quiet, debug) as screen:
        from graphattn.runs.demo import MOLECULES, NETWORK, demo_molecules, demo_network

        screen.say(NETWORK)
        with screen.epochs() as report:
            metrics = demo_network(out / "network", report)
        show_run(screen, out / "network", metrics)
        screen.say("")
        screen.say(MOLECULES)
        with screen.epochs() as report:
            metrics = demo_molecules(out / "molecules", report)
        # The label is Crippen logP itself, so the crippen baseline would be the label against itself.
        show_run(screen, out / "molecules", metrics, without=("crippen",))
