"""The molecules or the network that the options of a command name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphattn.cli.screen import Screen
from graphattn.errors import InputError

if TYPE_CHECKING:
    from graphattn.runs import MoleculeTable, NetworkFiles, NetworkOfCatalogue


def molecule_table(
    screen: Screen,
    table: Path | None,
    dataset: str | None,
    smiles_column: str | None,
    target_column: str | None,
    na_values: list[str] | None = None,
    weight_column: str | None = None,
) -> MoleculeTable:
    """Loads labelled molecules from a file or the catalogue.

    Raises:
        InputError: where there is not exactly one of the two, or it cannot be used.
    """
    from graphattn.runs import MoleculeTable

    exactly_one("TABLE", table, dataset)
    if dataset is not None:
        refuse(
            flags(smiles_column=smiles_column, target_column=target_column, na_values=na_values, weight_column=weight_column),
            "the data set names its columns itself",
        )
        fetch_if_missing(screen, dataset, "molecules")
        return MoleculeTable.from_dataset(dataset)
    if target_column is None:
        raise InputError(f"--target-column is missing: name the column of {table} that holds the target")
    return MoleculeTable.from_file(
        _given(table), smiles_column, target_column, weight_column=weight_column, na_values=na_values or ()
    )


def network(
    screen: Screen, dataset: str | None, feature_columns: str | None, **files: Any
) -> NetworkFiles | NetworkOfCatalogue:
    """Names a network in files or of the catalogue.

    Args:
        screen: where a download is shown.
        dataset: name of a data set.
        feature_columns: names between commas.
        files: the other arguments of `graphattn.runs.NetworkFiles`.

    Raises:
        InputError: where there is not exactly one of the two.
    """
    from graphattn.runs import NetworkFiles, NetworkOfCatalogue

    exactly_one("--edges", files["edges"], dataset)
    if dataset is not None:
        refuse(flags(feature_columns=feature_columns, **files), "the data set names its files and columns itself")
        fetch_if_missing(screen, dataset, "nodes")
        return NetworkOfCatalogue(dataset)
    columns = [name.strip() for name in (feature_columns or "").split(",") if name.strip()]
    if [str(files[name]) for name in ("edges", "nodes", "features")].count("-") > 1:
        raise InputError("only one of --edges, --nodes and --features can be standard input (-)")
    files["na_values"] = files["na_values"] or ()
    return NetworkFiles(**files, feature_columns=columns)


def smiles_column_for(table: Path | None, trained: str | None) -> str | None:
    """The column of the training, where a file has columns of any names."""
    from graphattn.runs.molecule_table import smiles_column_of

    return trained if table is None or trained is None else smiles_column_of(table, trained)


def fetch_if_missing(screen: Screen, name: str, job: str) -> None:
    """Downloads a data set of the catalogue that is not here yet."""
    from graphattn.data import fetch, load_card, local_folder

    card = load_card(name)
    if card.job == job and card.source == "download" and local_folder(name) is None:
        screen.say(f"fetching {name} from {card.home}")
        with screen.bytes() as report:
            fetch(name, progress=report)


def run_config(run: Path) -> tuple[str, dict[str, Any]]:
    """The job of a run, "molecules" or "nodes", and what its config says of the data.

    Raises:
        InputError: where the folder is no run.
    """
    from graphattn.estimators.kinds import KINDS
    from graphattn.estimators.persist import CONFIG_FILE, load_config

    config = load_config(run)
    kind = KINDS.get(str(config["estimator"]))
    if kind is None:
        raise InputError(f"{run / CONFIG_FILE} holds a {config['estimator']!r}; known are {', '.join(KINDS)}")
    data = config.get("data")
    return kind.source, data if isinstance(data, dict) else {}


def body_of_run(run: Path) -> dict[str, Any]:
    """The parameters of a run that its model's body is made from.

    Raises:
        InputError: where the folder is no run on molecules.
    """
    from graphattn.estimators.params import BODY
    from graphattn.estimators.persist import load_config

    job, _ = run_config(run)
    if job != "molecules":
        raise InputError(f"--init must name a run on molecules, and {run} labels the nodes of a network")
    params = load_config(run)["params"]
    return {name: params.get(name) for name in BODY}


def flags(**values: Any) -> dict[str, Any]:
    """Values by the names that their options have on the command line."""
    return {f"--{name.replace('_', '-')}": value for name, value in values.items()}


def refuse_options_of_other_job(run: Path, job: str, values: Mapping[str, Any]) -> None:
    """Checks that options of the other job were not given.

    Raises:
        InputError: naming the first that was.
    """
    other = "a network" if job == "molecules" else "molecules"
    refuse(values, f"{run} was trained on {'molecules' if job == 'molecules' else 'a network'}, and this is for {other}")


def refuse(values: Mapping[str, Any], reason: str) -> None:
    """Refuses options that are given.

    Raises:
        InputError: naming the first, and the reason.
    """
    for name, value in values.items():
        if value not in (None, False, []):
            raise InputError(f"{name} does not go here: {reason}")


def exactly_one(name: str, files: object, dataset: str | None) -> None:
    """Checks that there are files or a data set, and not both.

    Raises:
        InputError: otherwise.
    """
    if (files is None) == (dataset is None):
        raise InputError(f"give {name} or --dataset NAME" + ("" if files is None else ", not both"))


def _given(path: Path | None) -> Path:
    assert path is not None
    return path
