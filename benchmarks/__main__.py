"""The command line of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks import fuzz as fuzzing
from benchmarks import gpu, report, scaling
from benchmarks.cases import CASES, select
from benchmarks.gpu_cases import GPU_CASES
from benchmarks.parity import ParityError
from benchmarks.runner import ProcessDied, run_case
from benchmarks.worker import Options
from graphattn.errors import InputError

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console()

Threads = Annotated[int, typer.Option(min=1, help="Threads of torch and of our kernels.")]
Rounds = Annotated[int, typer.Option(min=1, help="Measurements of each contender; three at most where a step takes over 2 s.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Small graphs and 3 rounds, to see that all works; saved with --out only.")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; the default is the repository's.")]


@app.command()
def run(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help="Cases, groups or patterns of names; all by default.")
    ] = None,
    threads: Threads = 2,
    rounds: Rounds = 9,
    quick: Quick = False,
    rivals: Annotated[str, typer.Option(help="The rivals to run, with commas between.")] = ",".join(Options().rivals),
    out: Out = None,
) -> None:
    """Runs cases beside their rivals, prints tables and writes JSON. Fails where a case's sides do not compute the same."""
    chosen = tuple(rivals.split(","))
    unknown = set(chosen) - set(Options().rivals)
    if unknown:
        raise typer.BadParameter(
            f"must be of {', '.join(Options().rivals)}, got {', '.join(sorted(unknown))}", param_hint="--rivals"
        )
    try:
        selected = select(cases or [])
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    options = Options(threads, 3 if quick else rounds, quick, chosen)
    folder = out or (None if quick else report.RESULTS)
    records, refused = [], []
    for case in selected:
        try:
            record = run_case(case, options)
        except (ParityError, ProcessDied) as error:
            refused.append(f"{case.name}: {error}")
            console.print(f"[red]refused[/] {refused[-1]}\n", highlight=False, soft_wrap=True)
            continue
        report.show(record, console)
        records.append(record)
        if folder is not None:
            report.save(record, folder / f"{case.group}.json")
    report.show_summary(records, refused, console)
    if refused:
        raise typer.Exit(1)


@app.command("list")
def list_cases() -> None:
    """Shows all cases with their rivals and bars."""
    report.show_cases([*CASES.values(), *GPU_CASES.values()], console)


@app.command("gpu")
def run_gpu(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help="Cases or patterns of names; all by default.")
    ] = None,
    tests: Annotated[bool, typer.Option(help="Whether to run the tests marked cuda first.")] = True,
    out: Out = None,
) -> None:
    """On a CUDA GPU: runs its tests, then its cases beside torch_geometric, in ten minutes at most, and writes gpu.json.

    Fails where a test does, or a case whose sides do not compute the same. Of some cases alone it saves with --out only.
    """
    if not torch.cuda.is_available():
        typer.echo("python -m benchmarks gpu needs a CUDA GPU, and torch finds none on this machine", err=True)
        raise typer.Exit(2)
    try:
        selected = select(cases or [], GPU_CASES)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    folder = out or (None if cases else report.RESULTS)

    def save(result: dict[str, Any]) -> None:
        if folder is not None:
            report.write_json(result, folder / "gpu.json")

    if not gpu.run(selected, tests, save, console):
        raise typer.Exit(1)


@app.command("scaling")
def run_scaling(threads: Threads = 2, rounds: Rounds = 9, quick: Quick = False, out: Out = None) -> None:
    """Sweeps the number of edges: time and extra memory of a training step, with a plot."""
    options = Options(threads, 3 if quick else rounds, quick)
    result = scaling.sweep(options, console)
    if out is not None or not quick:
        json_path = (out or report.RESULTS) / "scaling.json"
        plot_path = (out or report.RESULTS.parents[1] / "docs" / "images") / "scaling.png"
        report.write_json(result, json_path)
        scaling.plot(result, plot_path)
        console.print(f"wrote {json_path.name} and {plot_path.name}")


@app.command("fuzz")
def run_fuzz(
    smiles: Annotated[int, typer.Option(min=0, help="Mutated SMILES to predict.")] = fuzzing.Sizes.smiles,
    files: Annotated[int, typer.Option(min=0, help="Mutated files of finished and of interrupted runs.")] = fuzzing.Sizes.files,
    tables: Annotated[int, typer.Option(min=0, help="Odd tables to predict, evaluate and train with.")] = fuzzing.Sizes.tables,
    kills: Annotated[
        int, typer.Option(min=0, help="Processes to kill, of training and of prediction, for each job.")
    ] = fuzzing.Sizes.kills,
    seed: Annotated[int, typer.Option(help="Of everything random; the same seed and sizes try the same.")] = 0,
) -> None:
    """Tries mutated SMILES, run files and tables, and kills processes; fails where one ends in a traceback or a wrong file."""
    try:
        found = fuzzing.fuzz(fuzzing.Sizes(smiles, files, tables, kills), seed, typer.echo)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    fuzzing.show(found, console)
    if any(one.faults for one in found):
        typer.echo(f"to try the same again: --seed {seed} --smiles {smiles} --files {files} --tables {tables} --kills {kills}")
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
