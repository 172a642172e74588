"""The catalogue of data sets: a card each, download with a check, and loading. See `datasets/` for the cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphattn.lazy import lazy_names

_HOME = {
    "Card": "graphattn.data.card",
    "CardFile": "graphattn.data.card",
    "card_names": "graphattn.data.card",
    "load_card": "graphattn.data.card",
    "dataset_folder": "graphattn.data.download",
    "fetch": "graphattn.data.download",
    "local_folder": "graphattn.data.download",
    "MoleculeDataset": "graphattn.data.catalogue",
    "NetworkDataset": "graphattn.data.catalogue",
    "load_molecules": "graphattn.data.catalogue",
    "load_network_dataset": "graphattn.data.catalogue",
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

__getattr__, __dir__ = lazy_names(__name__, _HOME)
