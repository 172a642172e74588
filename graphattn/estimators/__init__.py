"""Estimators in scikit-learn's shape, and the runs that the command line makes with them."""

from graphattn.estimators.molecules import MoleculeClassifier, MoleculeRegressor
from graphattn.estimators.nodes import NodeClassifier

__all__ = ["MoleculeClassifier", "MoleculeRegressor", "NodeClassifier"]
