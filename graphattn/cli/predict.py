"""`graphattn predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphattn.cli import options
from graphattn.cli.imports import import_without_compiler
from graphattn.cli.screen import Screen, complain
from graphattn.cli.source import exactly_one, fetch_if_missing, flags, network, refuse_options_of_other_job, run_config

EXAMPLE = options.example(
    "graphattn train nodes --dataset karate --out runs/karate",
    "graphattn predict runs/karate --dataset karate --out labels.csv",
)


def predict(
    run: options.Run,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="File to write; -: standard output.", show_default=False)],
    table: Annotated[
        Path | None, typer.Argument(help="Table or file of molecules, of any length; -: standard input.", show_default=False)
    ] = None,
    dataset: options.Dataset = None,
    smiles_column: options.SmilesColumn = None,
    na_values: options.NaValues = None,
    prediction_column: options.PredictionColumn = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 1 if a row cannot be predicted.", rich_help_panel="Molecules")
    ] = False,
    edges: options.Edges = None,
    nodes: options.Nodes = None,
    features: options.Features = None,
    id_column: options.IdColumn = None,
    source_column: options.SourceColumn = None,
    target_column: options.EdgeTargetColumn = None,
    feature_columns: options.FeatureColumns = None,
    adjacency_matrix: options.AdjacencyMatrix = False,
    directed: options.Directed = False,
    ignore_unknown_edges: options.IgnoreUnknownEdges = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Predict with a trained run: a value for each molecule of TABLE, or a label for each node of a network.

    A row that cannot be read stays, with an empty prediction and the reason.
    """
    files: dict[str, Any] = {
        "edges": edges,
        "nodes": nodes,
        "features": features,
        "id_column": id_column,
        "source_column": source_column,
        "target_column": target_column,
        "adjacency_matrix": adjacency_matrix,
        "directed": directed,
        "ignore_unknown_edges": ignore_unknown_edges,
    }
    with Screen(quiet, debug) as screen:
        import_without_compiler()
        from graphattn.runs import predict_molecules, predict_nodes

        job, _ = run_config(run)
        shown = "standard output" if str(out) == "-" else out
        if job == "nodes":
            refuse_options_of_other_job(run, job, {"TABLE": table, **flags(smiles_column=smiles_column, strict=strict)})
            source = network(screen, dataset, feature_columns, na_values=na_values, **files)
            result = predict_nodes(run, source, out, prediction_column=prediction_column, overwrite=overwrite, device=device)
            screen.say(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in result["found"].items()))
            if dropped := result["found"].get("unknown_edges"):
                screen.tell(f"{dropped:,} edges left out: an end is not in the node table")
            for note in result["notes"]:
                screen.say(f"note: {note}")
            screen.say(f"labels are in {shown}")
            return
        refuse_options_of_other_job(run, job, flags(feature_columns=feature_columns, **files))
        molecules = molecules_of(screen, table, dataset)
        with screen.rows() as report:
            result = predict_molecules(
                run,
                molecules,
                out,
                smiles_column=smiles_column,
                prediction_column=prediction_column,
                na_values=na_values or (),
                overwrite=overwrite,
                device=device,
                report=report,
            )
        for note in result["notes"]:
            screen.say(f"note: {note}")
        for reason, count in result["errors"].items():
            screen.tell(f"{count:,} rows without a prediction: {reason}")
        screen.say(f"{result['predicted']:,} of {result['rows']:,} rows predicted; they are in {shown}")
        if strict and result["errors"]:
            complain(f"{result['rows'] - result['predicted']:,} rows of {table or dataset} could not be predicted (--strict)")
            raise typer.Exit(1)


def molecules_of(screen: Screen, table: Path | None, dataset: str | None) -> Any:
    """The table of molecules that a command was given, one of both: a file as it is, or a data set."""
    from graphattn.runs import MoleculeTable

    exactly_one("TABLE", table, dataset)
    if dataset is None:
        return table
    fetch_if_missing(screen, dataset, "molecules")
    return MoleculeTable.from_dataset(dataset)
