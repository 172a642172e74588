"""Both jobs on data inside the installed packages, so that no download is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from graphattn.estimators import NodeClassifier
from graphattn.networks import draw_network
from graphattn.runs import (
    MoleculeTable,
    NetworkOfCatalogue,
    RunOptions,
    predict_nodes,
    train_molecules,
    train_nodes,
)
from graphattn.train import EpochReport

MOLECULES = """\
Molecules: 1,500 of the NCI set inside rdkit; the test molecules have scaffolds
of their own. The label is COMPUTED, not measured: it is rdkit's Wildman-Crippen
logP, a hydrophobicity scale that is a sum over the atoms."""
NETWORK = """\
Network: Zachary's karate club, inside networkx. Of its 34 members only the two
leaders are labelled: which side does each of the others take?"""

# The label is a sum over atoms, and so is this readout.
_MOLECULE_PARAMS = {"readout": "sum", "epochs": 30}
# As many eigenvectors as classes, as in spectral clustering (von Luxburg, "A tutorial on spectral clustering", 2007).
_NETWORK_PARAMS = {"encodings": {"laplacian": 2}}


def demo_molecules(out: Path, report: Callable[[EpochReport], None] | None = None) -> dict[str, Any]:
    """Learns computed logP from the NCI molecules in rdkit, and writes the run to `out`, over an earlier one.

    Returns:
        The content of `metrics.json`. Its "crippen" baseline says nothing here: that is the label itself.

    Raises:
        InputError: where `out` holds something that is no run.
    """
    options = RunOptions(out, split="scaffold", overwrite=True, params=_MOLECULE_PARAMS, report=report)
    return train_molecules(MoleculeTable.from_dataset("nci_crippen"), options)


def demo_network(out: Path, report: Callable[[EpochReport], None] | None = None) -> dict[str, Any]:
    """Labels the members of the karate club from one member a side, and writes the run to `out`, over an earlier one.

    The folder also gets `labels.csv`, a label for every member, and `network.png`.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where `out` holds something that is no run.
    """
    source = NetworkOfCatalogue("karate")
    metrics = train_nodes(source, RunOptions(out, overwrite=True, params=_NETWORK_PARAMS, report=report))
    predict_nodes(out, source, out / "labels.csv")
    network = source.load()
    estimator = NodeClassifier.from_pretrained(out)
    draw_network(
        network.data,
        estimator.predict_proba(network.data).argmax(axis=1),
        out / "network.png",
        train_index=torch.from_numpy(network.split["train"]) if network.split else None,
        ids=network.ids,
        title=f"Zachary's karate club: {metrics['test']['accuracy']:.0%} of the {metrics['split']['test']} other members right",
    )
    return metrics
