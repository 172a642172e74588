"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def example(*lines: str) -> str:
    """The end of a help text: commands that run as they stand, each on a line of its own."""
    return "\n\n".join(["Example:", *lines])


_COMMON, _TABLE, _NETWORK = "Common options", "Molecules", "Network"

Run = Annotated[Path, typer.Argument(help="Folder of a trained run.", show_default=False)]
Dataset = Annotated[str | None, typer.Option(metavar="NAME", help="A data set of the catalogue, instead of files.")]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="scaffold (molecules), random, stratified, A/B/C such as 0.8/0.1/0.1, column:NAME with cells train, valid and "
        "test (molecules), or a .json file with row numbers under these three. Default: the data set's standard split, or else "
        "random 0.8/0.1/0.1.",
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="The largest number of epochs.")]
Loss = Annotated[str | None, typer.Option(metavar="NAME", help="regression: mse, mae or huber. Default: mse.")]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Score that chooses the epoch: rmse, mae, r2; accuracy, macro_f1, balanced_accuracy, mcc, roc_auc, pr_auc. "
        "Default: rmse, accuracy.",
    ),
]
ClassWeight = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="balanced: each class counts the same in training; a --config file may name weights."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_COMMON)]
Seed = Annotated[int, typer.Option(min=0, help="Of the split, the weights and everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what --out names.", rich_help_panel=_COMMON)]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show errors, results and counts of what is left out only.", rich_help_panel=_COMMON),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_COMMON)]

NaValues = Annotated[
    list[str] | None,
    typer.Option(
        "--na-values",
        metavar="TEXT",
        help="A cell with this text is missing, as NA is; may be repeated. Kept in the run.",
        show_default=False,
    ),
]
PredictionColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Column for the predictions, and start of NAME_error and others. Default: prediction, error."
    ),
]

SmilesColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with the SMILES.", rich_help_panel=_TABLE)]

Edges = Annotated[
    Path | None,
    typer.Option(
        help="Table, one edge a row, also between spaces; GraphML, GML, GEXF or Pajek; .pt of torch_geometric, or .npz.",
        rich_help_panel=_NETWORK,
        show_default=False,
    ),
]
Nodes = Annotated[
    Path | None, typer.Option(help="Table with a header, one node a row.", rich_help_panel=_NETWORK, show_default=False)
]
Features = Annotated[
    Path | None, typer.Option(help="JSON, node id → list of feature ids.", rich_help_panel=_NETWORK, show_default=False)
]
IdColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of --nodes with the id; default: the first.", rich_help_panel=_NETWORK),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of --nodes with the label; empty: unlabelled.", rich_help_panel=_NETWORK),
]
SourceColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of --edges with one end; default: the first.", rich_help_panel=_NETWORK),
]
EdgeTargetColumn = Annotated[
    str | None,
    typer.Option(
        "--target-column",
        metavar="NAME",
        help="Column of --edges with the other end; default: the second.",
        rich_help_panel=_NETWORK,
    ),
]
FeatureColumns = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Columns of --nodes to use as features, instead of --features.", rich_help_panel=_NETWORK),
]
AdjacencyMatrix = Annotated[
    bool,
    typer.Option(
        "--adjacency-matrix", help="--edges is a matrix, a row and a column a node, 0: no edge.", rich_help_panel=_NETWORK
    ),
]
Directed = Annotated[bool, typer.Option("--directed", help="Edges keep their direction.", rich_help_panel=_NETWORK)]
IgnoreUnknownEdges = Annotated[
    bool,
    typer.Option(
        "--ignore-unknown-edges", help="Drop and count edges to an id that is not in --nodes.", rich_help_panel=_NETWORK
    ),
]
