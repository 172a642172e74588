"""`graphattn embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphattn.cli import options
from graphattn.cli.imports import import_without_compiler
from graphattn.cli.predict import molecules_of
from graphattn.cli.screen import Screen
from graphattn.cli.source import run_config
from graphattn.errors import InputError

EXAMPLE = options.example(
    "graphattn train molecules --dataset nci_crippen --epochs 2 --out runs/logp",
    "graphattn embed runs/logp --dataset nci_crippen --out vectors.npy",
)


def embed(
    run: options.Run,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write, .csv or .npy; -: CSV on standard output.", show_default=False)
    ],
    table: Annotated[
        Path | None, typer.Argument(help="Table or file of molecules, of any length; -: standard input.", show_default=False)
    ] = None,
    dataset: options.Dataset = None,
    smiles_column: options.SmilesColumn = None,
    na_values: options.NaValues = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write the vector from which a run on molecules makes each prediction: features for another model.

    A row that cannot be read stays, with an empty vector and the reason.
    """
    with Screen(quiet, debug) as screen:
        import_without_compiler()
        from graphattn.runs import embed_molecules

        job, _ = run_config(run)
        if job != "molecules":
            raise InputError(f"{run} labels the nodes of a network; embed is for runs on molecules")
        molecules = molecules_of(screen, table, dataset)
        with screen.rows() as report:
            result = embed_molecules(
                run,
                molecules,
                out,
                smiles_column=smiles_column,
                na_values=na_values or (),
                overwrite=overwrite,
                device=device,
                report=report,
            )
        for note in result["notes"]:
            screen.say(f"note: {note}")
        for reason, count in result["errors"].items():
            screen.tell(f"{count:,} rows without a vector: {reason}")
        shown = "standard output" if str(out) == "-" else out
        screen.say(f"vectors of {result['predicted']:,} of {result['rows']:,} rows are in {shown}")
