"""Estimators in scikit-learn's shape, and the runs that the command line makes with them."""

from graphattn.estimators.molecule_classifier import MoleculeClassifier
from graphattn.estimators.molecule_regressor import MoleculeRegressor
from graphattn.estimators.node_classifier import NodeClassifier

__all__ = ["MoleculeClassifier", "MoleculeRegressor", "NodeClassifier"]
