"""The catalogue of data sets: a card each, download with a check, and loading. See `datasets/` for the cards."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Card": "card",
    "CardFile": "card",
    "card_names": "card",
    "load_card": "card",
    "dataset_folder": "download",
    "fetch": "download",
    "local_folder": "download",
    "MoleculeDataset": "catalogue",
    "NetworkDataset": "catalogue",
    "load_molecules": "catalogue",
    "load_network_dataset": "catalogue",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from graphattn.data.card import Card as Card
    from graphattn.data.card import CardFile as CardFile
    from graphattn.data.card import card_names as card_names
    from graphattn.data.card import load_card as load_card
    from graphattn.data.catalogue import MoleculeDataset as MoleculeDataset
    from graphattn.data.catalogue import NetworkDataset as NetworkDataset
    from graphattn.data.catalogue import load_molecules as load_molecules
    from graphattn.data.catalogue import load_network_dataset as load_network_dataset
    from graphattn.data.download import dataset_folder as dataset_folder
    from graphattn.data.download import fetch as fetch
    from graphattn.data.download import local_folder as local_folder


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"graphattn.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'graphattn.data' has no attribute {name!r}")
