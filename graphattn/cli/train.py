"""`graphattn train molecules` and `graphattn train nodes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphattn.cli import options
from graphattn.cli.command import Command
from graphattn.cli.config import config_option, estimator_params
from graphattn.cli.screen import Screen, score_table
from graphattn.cli.source import body_of_run, molecule_table, network, refuse

app = typer.Typer(
    help="Train a model on your data.",
    epilog=options.example("graphattn train nodes --dataset karate --out runs/karate"),
)

# What to try where a baseline is better than the model.
_MOLECULE_ADVICE = "more epochs or rows may help, or the values are too noisy for more than a simple rule"
_NODE_ADVICE = (
    "features that say little of the label may hide the structure (leave some out with --feature-columns), and more "
    "eigenvectors may show more of it (encodings = {degree = 1, laplacian = 16} in a --config file)"
)

Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write the run to.", show_default=False)]


@app.command(cls=Command, epilog=options.example("graphattn train molecules --dataset nci_crippen --epochs 2 --out runs/logp"))
def molecules(
    ctx: typer.Context,
    out: Out,
    table: Annotated[
        Path | None,
        typer.Argument(help="Delimited file, .smi, .sdf, .parquet or .xlsx, also compressed, with SMILES.", show_default=False),
    ] = None,
    dataset: options.Dataset = None,
    smiles_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column with the SMILES; default: smiles.")] = None,
    target_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column with what to learn.")] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="regression or classification. Default: that of the data set, or regression."),
    ] = None,
    weight_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column that says how much each row counts in training.")
    ] = None,
    class_weight: options.ClassWeight = None,
    na_values: options.NaValues = None,
    prediction_column: options.PredictionColumn = None,
    split: options.Split = None,
    valid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Validation part, with the columns of TABLE. Default with --test: a tenth of TABLE."),
    ] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Test part, with the columns of TABLE.")] = None,
    epochs: options.Epochs = None,
    loss: options.Loss = None,
    metric: options.Metric = None,
    ensemble: Annotated[
        int | None, typer.Option(min=1, help="Models that differ by their seed; predictions are their mean. Default: 1.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Start from another run on molecules, of any target: all but its head.")
    ] = None,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    config: Annotated[Path | None, config_option("molecules")] = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Learn one value, or one class, for each molecule of a table.

    The run's folder gets the model, its scores next to simple baselines, the
    predictions of the test part, and pictures.
    """
    with Screen(quiet, debug, resumable=True) as screen:
        from graphattn.runs import RunOptions, train_molecules

        source = molecule_table(screen, table, dataset, smiles_column, target_column, na_values, weight_column)
        if valid is not None or test is not None:
            refuse({"--split": split, "--dataset": dataset}, "--valid and --test make the split of a table")
            held_out, judged = (
                None if path is None else molecule_table(screen, path, None, smiles_column, target_column, na_values)
                for path in (valid, test)
            )
            source = source.with_parts(held_out, judged, seed)
        params = estimator_params(
            ctx, epochs=epochs, loss=loss, metric=metric, class_weight=class_weight, ensemble=ensemble, device=device
        )
        if init is not None:
            body = body_of_run(init)
            params = {**{name: value for name, value in body.items() if value is not None}, **params, "init": str(init)}
            screen.say(f"starting from {init}: all of its weights but the head's")
        given: dict[str, Any] = {"seed": seed, "split": split, "resume": resume, "overwrite": overwrite, "params": params}
        given |= {"prediction_column": prediction_column, "left_out": screen.tell}
        with screen.epochs() as report:
            metrics = train_molecules(source, RunOptions(out, **given, report=report, notify=screen.say), task=task)
        show_run(screen, out, metrics, _MOLECULE_ADVICE)


@app.command(cls=Command, epilog=options.example("graphattn train nodes --dataset karate --out runs/karate"))
def nodes(
    ctx: typer.Context,
    out: Out,
    dataset: options.Dataset = None,
    edges: options.Edges = None,
    nodes: options.Nodes = None,
    features: options.Features = None,
    id_column: options.IdColumn = None,
    label_column: options.LabelColumn = None,
    source_column: options.SourceColumn = None,
    target_column: options.EdgeTargetColumn = None,
    feature_columns: options.FeatureColumns = None,
    adjacency_matrix: options.AdjacencyMatrix = False,
    directed: options.Directed = False,
    ignore_unknown_edges: options.IgnoreUnknownEdges = False,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="classification, or regression where --label-column holds numbers.")
    ] = "classification",
    na_values: options.NaValues = None,
    prediction_column: options.PredictionColumn = None,
    split: options.Split = None,
    epochs: options.Epochs = None,
    loss: options.Loss = None,
    metric: options.Metric = None,
    class_weight: options.ClassWeight = None,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    config: Annotated[Path | None, config_option("nodes")] = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Learn one label, or one number, for each node of a network: people, pages, accounts.

    Nodes without a label take part in training and get predictions. The run's
    folder gets the model, its scores next to simple baselines, the predictions
    of the test part, and pictures.
    """
    with Screen(quiet, debug, resumable=True) as screen:
        from graphattn.runs import RunOptions, train_nodes

        source = network(
            screen,
            dataset,
            feature_columns,
            edges=edges,
            nodes=nodes,
            features=features,
            id_column=id_column,
            label_column=label_column,
            source_column=source_column,
            target_column=target_column,
            adjacency_matrix=adjacency_matrix,
            directed=directed,
            na_values=na_values,
            ignore_unknown_edges=ignore_unknown_edges,
        )
        params = estimator_params(ctx, epochs=epochs, loss=loss, metric=metric, class_weight=class_weight, device=device)
        given: dict[str, Any] = {"seed": seed, "split": split, "resume": resume, "overwrite": overwrite, "params": params}
        given |= {"prediction_column": prediction_column, "left_out": screen.tell}
        with screen.epochs() as report:
            metrics = train_nodes(source, RunOptions(out, **given, report=report, notify=screen.say), task=task)
        show_run(screen, out, metrics, _NODE_ADVICE)


def show_run(screen: Screen, out: Path, metrics: dict[str, Any], advice: str = "", *, without: tuple[str, ...] = ()) -> None:
    """Shows the scores of a run, what was odd, and where the files are.

    With --quiet these are the scores of the test part, what is left out, and where a baseline is better.

    Args:
        screen, out, metrics: of the run.
        advice: what to try where a baseline is better.
        without: baselines not to mention.
    """
    from graphattn.train import score_text

    if screen.quiet:
        test = ", ".join(f"{name} {score_text(value)}" for name, value in metrics["test"].items())
        screen.result(f"{out}: test {test}" if test else f"{out}: there is no test part to score")
    else:
        screen.say("")
        screen.show(score_table(metrics, without=without))
        screen.say("")
    if trust := metrics.get("uncertainty"):
        screen.say(_about_trust(trust))
    for name, scores in metrics["better_on_validation"].items():
        if name not in without:
            for score, value in scores.items():
                ours, baseline = metrics["valid"][score], name.replace("_", " ")
                compared = f"baseline {baseline} has a better {score} on valid, {value:.4g}, than the model, {ours:.4g}"
                screen.tell(f"warning: {compared}; {advice}")
    for reason, count in metrics["excluded"].items():
        screen.tell(f"{count:,} rows left out: {reason}")
    if metrics["duplicates_across_splits"]:
        screen.say(f"{metrics['duplicates_across_splits']:,} rows of valid and test repeat a molecule of train")
    screen.say(f"{metrics['seconds']:.0f} s; model, scores, predictions and pictures are in {out}")


def _about_trust(trust: dict[str, Any]) -> str:
    """A sentence on the uncertainties of the test part."""
    if "coverage" not in trust:
        return f"calibration error of the probabilities on test: {trust['calibration_error']:.3f}"
    held = f"{100 * trust['interval']:g} % intervals hold {100 * trust['coverage']:.1f} % of the test values"
    return f"{held}; the half with the least uncertainty has {trust['rmse_certain_half']:.2f} × the rmse of all"
