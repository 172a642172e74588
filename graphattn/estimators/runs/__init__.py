"""Runs: what the command line does, as functions. A run is a folder with a model, its scores and its predictions."""

from graphattn.estimators.runs.folder import RunOptions
from graphattn.estimators.runs.molecule_table import MoleculeTable
from graphattn.estimators.runs.molecules import evaluate_molecules, predict_molecules, train_molecules
from graphattn.estimators.runs.network_source import NetworkFiles, NetworkOfCatalogue
from graphattn.estimators.runs.nodes import evaluate_nodes, predict_nodes, train_nodes

__all__ = [
    "MoleculeTable",
    "NetworkFiles",
    "NetworkOfCatalogue",
    "RunOptions",
    "evaluate_molecules",
    "evaluate_nodes",
    "predict_molecules",
    "predict_nodes",
    "train_molecules",
    "train_nodes",
]
