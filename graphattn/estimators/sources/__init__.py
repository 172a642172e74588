"""What comes into a model: how inputs become batches, and how all rows are predicted."""

from graphattn.estimators.sources.molecules import MoleculeInputs, MoleculeSource
from graphattn.estimators.sources.network import NetworkSource
from graphattn.estimators.sources.source import Source

SOURCES: dict[str, type[Source]] = {source.name: source for source in (MoleculeSource, NetworkSource)}

__all__ = ["SOURCES", "MoleculeInputs", "MoleculeSource", "NetworkSource", "Source"]
