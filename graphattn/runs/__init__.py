"""Runs: what the commands do, as functions. A run is a folder with a model, its scores and its predictions."""

from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_table import MoleculeTable
from graphattn.runs.molecules import embed_molecules, evaluate_molecules, predict_molecules, train_molecules
from graphattn.runs.network import NetworkFiles, NetworkOfCatalogue
from graphattn.runs.nodes import evaluate_nodes, predict_nodes, train_nodes

__all__ = [
    "MoleculeTable",
    "NetworkFiles",
    "NetworkOfCatalogue",
    "RunOptions",
    "embed_molecules",
    "evaluate_molecules",
    "evaluate_nodes",
    "predict_molecules",
    "predict_nodes",
    "train_molecules",
    "train_nodes",
]
