from . import chem as chem
from . import data as data
from . import estimators as estimators
from . import networks as networks
from . import nn as nn
from . import ops as ops
from . import structure as structure
from . import train as train
from .cli.backends_screen import backends as backends
from .errors import InputError as InputError
from .estimators import MoleculeClassifier as MoleculeClassifier
from .estimators import MoleculeRegressor as MoleculeRegressor
from .estimators import NodeClassifier as NodeClassifier
from .estimators import NodeRegressor as NodeRegressor
from .nn import FullSelfAttention as FullSelfAttention
from .nn import GraphTransformer as GraphTransformer
from .nn import MaskedSelfAttention as MaskedSelfAttention
from .nn.accelerate import accelerate as accelerate
from .nn.accelerate import why_not_fused as why_not_fused
from .ops import AdjacencyMask as AdjacencyMask
from .ops import BlockDiagonalMask as BlockDiagonalMask
from .ops.warmup import warmup as warmup

__version__: str
