"""Molecules: SMILES → graphs with one-hot atoms and bonds, scaffold splits, Wildman–Crippen logP.

Names are imported on first use (PEP 562), so that workers that featurise never import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphattn.lazy import lazy_names

_HOME = {
    "ATOM_FEATURES": "graphattn.chem.features",
    "ATOM_WIDTH": "graphattn.chem.features",
    "BOND_FEATURES": "graphattn.chem.features",
    "BOND_WIDTH": "graphattn.chem.features",
    "FEATURE_VERSION": "graphattn.chem.features",
    "Molecules": "graphattn.chem.molecules",
    "atom_feature_names": "graphattn.chem.features",
    "bond_feature_names": "graphattn.chem.features",
    "canonical_smiles": "graphattn.chem.smiles",
    "crippen_contributions": "graphattn.chem.crippen",
    "crippen_logp": "graphattn.chem.crippen",
    "featurise": "graphattn.chem.molecules",
    "from_smiles": "graphattn.chem.molecules",
    "parse_smiles": "graphattn.chem.smiles",
    "scaffold": "graphattn.chem.murcko",
    "scaffold_split": "graphattn.chem.split",
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
    from graphattn.chem.murcko import scaffold as scaffold
    from graphattn.chem.smiles import canonical_smiles as canonical_smiles
    from graphattn.chem.smiles import parse_smiles as parse_smiles
    from graphattn.chem.split import scaffold_split as scaffold_split

__getattr__, __dir__ = lazy_names(__name__, _HOME)
