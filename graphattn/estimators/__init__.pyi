from .molecule import MoleculeClassifier as MoleculeClassifier
from .molecule import MoleculeRegressor as MoleculeRegressor
from .node import NodeClassifier as NodeClassifier
from .node import NodeRegressor as NodeRegressor
