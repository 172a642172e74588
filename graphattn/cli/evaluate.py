"""`graphattn evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from graphattn.cli import options
from graphattn.cli.imports import import_without_compiler
from graphattn.cli.screen import Screen
from graphattn.cli.source import flags, molecule_table, network, refuse_options_of_other_job, run_config, smiles_column_for

EXAMPLE = options.example(
    "graphattn train nodes --dataset karate --out runs/karate",
    "graphattn evaluate runs/karate --dataset karate",
)


def evaluate(
    run: options.Run,
    table: Annotated[
        Path | None, typer.Argument(help="Table or file of labelled molecules; -: standard input.", show_default=False)
    ] = None,
    dataset: options.Dataset = None,
    target_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Molecules: column of TABLE with the truth; default: that of the training. Network: column of --edges with "
            "the other end; default: the second.",
        ),
    ] = None,
    smiles_column: options.SmilesColumn = None,
    na_values: options.NaValues = None,
    edges: options.Edges = None,
    nodes: options.Nodes = None,
    features: options.Features = None,
    id_column: options.IdColumn = None,
    label_column: options.LabelColumn = None,
    source_column: options.SourceColumn = None,
    feature_columns: options.FeatureColumns = None,
    adjacency_matrix: options.AdjacencyMatrix = False,
    directed: options.Directed = False,
    ignore_unknown_edges: options.IgnoreUnknownEdges = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Score a trained run on labelled data, as JSON on stdout.

    The scores are those of metrics.json; scores_unseen leaves out the rows that
    the run was trained on or stopped by.
    """
    files: dict[str, Any] = {
        "edges": edges,
        "nodes": nodes,
        "features": features,
        "id_column": id_column,
        "label_column": label_column,
        "source_column": source_column,
        "adjacency_matrix": adjacency_matrix,
        "directed": directed,
        "ignore_unknown_edges": ignore_unknown_edges,
    }
    with Screen(quiet, debug) as screen:
        import_without_compiler()
        from graphattn.runs import evaluate_molecules, evaluate_nodes

        job, trained = run_config(run)
        if job == "nodes":
            refuse_options_of_other_job(run, job, {"TABLE": table, **flags(smiles_column=smiles_column)})
            source = network(screen, dataset, feature_columns, target_column=target_column, na_values=na_values, **files)
            result = evaluate_nodes(run, source, device=device)
        else:
            refuse_options_of_other_job(run, job, flags(feature_columns=feature_columns, **files))
            if dataset is None:
                smiles_column = smiles_column or smiles_column_for(table, trained.get("smiles_column"))
                target_column = target_column or trained.get("target_column")
            result = evaluate_molecules(
                run,
                molecule_table(screen, table, dataset, smiles_column, target_column, na_values),
                device=device,
            )
        typer.echo(json.dumps(result, indent=2))
        for note in result["notes"]:
            screen.say(f"note: {note}")
        if result["trained_on"]:
            screen.say(
                f"warning: {result['trained_on']:,} of {result['rows']:,} rows were in the training or validation part of this "
                "run; see scores_unseen"
            )
