"""Molecules: SMILES → graphs with one-hot atoms and bonds, scaffold splits, Wildman–Crippen logP.

Names are imported on first use (PEP 562), so that workers that featurise never import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "ATOM_FEATURES": "features",
    "ATOM_WIDTH": "features",
    "BOND_FEATURES": "features",
    "BOND_WIDTH": "features",
    "FEATURE_VERSION": "features",
    "Molecules": "molecules",
    "atom_feature_names": "features",
    "bond_feature_names": "features",
    "canonical_smiles": "smiles",
    "crippen_contributions": "crippen",
    "crippen_logp": "crippen",
    "featurise": "molecules",
    "from_smiles": "molecules",
    "parse_smiles": "smiles",
    "scaffold": "split",
    "scaffold_split": "split",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from graphattn.chem.crippen import crippen_contributions as crippen_contributions
    from graphattn.chem.crippen import crippen_logp as crippen_logp
    from graphattn.chem.features import ATOM_FEATURES as ATOM_FEATURES
    from graphattn.chem.features import ATOM_WIDTH as ATOM_WIDTH
    from graphattn.chem.features import BOND_FEATURES as BOND_FEATURES
    from graphattn.chem.features import BOND_WIDTH as BOND_WIDTH
    from graphattn.chem.features import FEATURE_VERSION as FEATURE_VERSION
    from graphattn.chem.features import atom_feature_names as atom_feature_names
    from graphattn.chem.features import bond_feature_names as bond_feature_names
    from graphattn.chem.molecules import Molecules as Molecules
    from graphattn.chem.molecules import featurise as featurise
    from graphattn.chem.molecules import from_smiles as from_smiles
    from graphattn.chem.smiles import canonical_smiles as canonical_smiles
    from graphattn.chem.smiles import parse_smiles as parse_smiles
    from graphattn.chem.split import scaffold as scaffold
    from graphattn.chem.split import scaffold_split as scaffold_split


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"graphattn.chem.{_HOME[name]}"), name)
    raise AttributeError(f"module 'graphattn.chem' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
