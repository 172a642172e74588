"""Estimators in scikit-learn's shape: a source × a task × a model.

Names are imported on first use (PEP 562), so that predicting with a trained folder never imports scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphattn.lazy import lazy_names

_HOME = {
    "MoleculeClassifier": "graphattn.estimators.molecule",
    "MoleculeRegressor": "graphattn.estimators.molecule",
    "NodeClassifier": "graphattn.estimators.node",
    "NodeRegressor": "graphattn.estimators.node",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from graphattn.estimators.molecule import MoleculeClassifier as MoleculeClassifier
    from graphattn.estimators.molecule import MoleculeRegressor as MoleculeRegressor
    from graphattn.estimators.node import NodeClassifier as NodeClassifier
    from graphattn.estimators.node import NodeRegressor as NodeRegressor

__getattr__, __dir__ = lazy_names(__name__, _HOME)
