"""Molecules: SMILES → graphs with one-hot atoms and bonds, scaffold splits, Wildman–Crippen logP.

Names are imported on first use (PEP 562), so that workers that featurise never import torch.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
