"""The data sets of the catalogue, loaded: a table of molecules, or a network as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from graphattn.data.card import Card, load_card
from graphattn.data.download import dataset_folder, has_sum
from graphattn.errors import InputError
from graphattn.splits import Split, read_split_file

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp

    from graphattn.networks import FeatureEncoding


@dataclass(frozen=True)
class MoleculeDataset:
    """Molecules with one measured (or, for the demo, computed) value each.

    Args:
        card: What is known of the data set.
        frame: One row a molecule, every cell a str exactly as in the file, as `graphattn.tables.read_table` gives it.
        smiles_column: Column of `frame` with the SMILES.
        target_column: Column of `frame` with the value, in the units of `card.label`.
        split: The standard split, "train", "valid" and "test" to row numbers (int64, from 0); None where there is none.
    """

    card: Card
    frame: pd.DataFrame
    smiles_column: str
    target_column: str
    split: Split | None


@dataclass(frozen=True)
class NetworkDataset:
    """A network whose nodes carry labels.

    Args:
        card: What is known of the data set.
        data: `x` [nodes, features] float32 (sparse CSR where the features are words or ids; dense for tolokers and
            minesweeper; absent for karate), `edge_index` [2, edges] int64 with every edge in both
            directions, `y` [nodes] int64 with −1 where there is no label, `class_names`, `num_nodes`.
        ids: Name of each node, in the order of the rows.
        class_names: Name of each class.
        encoding: How `x` was made from the raw features; None where the files hold it ready made.
        split: The standard split, "train", "valid" and "test" to row numbers (int64, from 0); None where there is none.
    """

    card: Card
    data: Data
    ids: list[str]
    class_names: list[str]
    encoding: FeatureEncoding | None
    split: Split | None


def load_molecules(name: str) -> MoleculeDataset:
    """Loads a set of molecules from `GRAPHATTN_DATA`, the cache, or its public address.

    Args:
        name: A data set whose card has the job "molecules".

    Raises:
        InputError: There is no such data set, it is a network, or its files cannot be had.
    """
    card = _card(name, "molecules")
    smiles, target = card.columns["smiles"], card.columns["target"]
    if card.source == "package":
        return MoleculeDataset(card, _nci_crippen(card), smiles, target, None)
    from graphattn.tables import read_table, require_columns

    folder = dataset_folder(name)
    path = folder / card.file("table").name
    frame = read_table(path)
    require_columns(frame, [smiles, target], path)
    split = _split_file(card, folder, range(len(frame)))
    if split is None and card.split is not None and card.split["kind"] == "scaffold":
        from graphattn.chem import scaffold_split

        # The standard scaffold split has one deterministic order, so it can be made again where its file is missing.
        split = scaffold_split(frame[smiles].tolist(), seed=None)
    return MoleculeDataset(card, frame, smiles, target, split)


def load_network_dataset(name: str) -> NetworkDataset:
    """Loads a network from `GRAPHATTN_DATA`, the cache, its public address, or the installed networkx.

    Args:
        name: A data set whose card has the job "nodes".

    Raises:
        InputError: There is no such data set, it is a set of molecules, or its files cannot be had.
    """
    card = _card(name, "nodes")
    if card.format == "karate":
        return _karate(card)
    folder = dataset_folder(name)
    if card.format == "edges":
        return _edge_list(card, folder)
    if card.format == "planetoid":
        data, split = _planetoid(card, folder)
    elif card.format == "sparse_npz":
        data, split = _sparse_npz(card, folder)
    else:
        data, split = _npz(card, folder)
    data.class_names = list(card.label.get("classes") or map(str, range(int(data.y.max()) + 1)))
    data.ids = [str(row) for row in range(data.num_nodes)]
    return NetworkDataset(card, data, data.ids, data.class_names, None, split)


def _card(name: str, job: str) -> Card:
    card = load_card(name)
    if card.job != job:
        raise InputError(f"data set {name!r} is for {card.job}, expected one for {job}")
    return card


def _nci_crippen(card: Card) -> pd.DataFrame:
    """The first molecules that parse of rdkit's NCI file, labelled with Wildman–Crippen logP."""
    import pandas as pd
    from rdkit import Chem, RDConfig, rdBase
    from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors

    rows: list[tuple[str, str]] = []
    with rdBase.BlockLogs(), (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").open(encoding="utf-8") as lines:
        for line in lines:
            smiles = line.split()[0]
            molecule = Chem.MolFromSmiles(smiles)
            if molecule is not None:
                rows.append((smiles, repr(CalcCrippenDescriptors(molecule)[0])))
            if len(rows) == card.counts["molecules"]:
                break
    return pd.DataFrame(rows, columns=[card.columns["smiles"], card.columns["target"]], dtype=str)


def _karate(card: Card) -> NetworkDataset:
    import networkx

    from graphattn.networks import from_networkx

    network = from_networkx(networkx.karate_club_graph(), label=card.columns["label"])
    train = np.array(card.split["train"] if card.split else [], dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(network.ids)), train)
    split = {"train": train, "valid": np.empty(0, np.int64), "test": rest}
    return NetworkDataset(card, network.data, network.ids, network.data.class_names, network.encoding, split)


def _edge_list(card: Card, folder: Path) -> NetworkDataset:
    from graphattn.networks import load_network

    network = load_network(
        folder / card.file("edges").name,
        folder / card.file("nodes").name,
        folder / card.file("features").name,
        id_column=card.columns["id"],
        label_column=card.columns["label"],
        source_column=card.columns["source"],
        target_column=card.columns["target"],
    )
    split = _split_file(card, folder, network.ids)
    return NetworkDataset(card, network.data, network.ids, network.data.class_names, network.encoding, split)


def _planetoid(card: Card, folder: Path) -> tuple[Data, Split | None]:
    from scipy.sparse import csr_matrix
    from torch_geometric.io import read_planetoid_data

    # These files are pickles, which can run code when read: only the very bytes that the card names are.
    for file in card.files:
        if not has_sum(folder / file.name, file):
            raise InputError(f"{folder / file.name} is not the file of data set {card.name!r} (its SHA-256 differs)")
    data = read_planetoid_data(str(folder / "raw"), card.name)
    split = _from_masks(data.train_mask, data.val_mask, data.test_mask)
    x = _sparse(csr_matrix(data.x.numpy()))
    return Data(x=x, edge_index=data.edge_index, y=data.y, num_nodes=len(data.y)), split


def _sparse_npz(card: Card, folder: Path) -> tuple[Data, Split | None]:
    from scipy.sparse import csr_matrix

    arrays = _arrays(folder / card.file("graph").name)
    adjacency, features = (
        csr_matrix((arrays[f"{key}_data"], arrays[f"{key}_indices"], arrays[f"{key}_indptr"]), arrays[f"{key}_shape"])
        for key in ("adj", "attr")
    )
    features.data = (features.data > 0).astype(np.float32)
    edges, _ = remove_self_loops(torch.from_numpy(np.stack(adjacency.nonzero())).long())
    nodes = adjacency.shape[0]
    data = Data(
        x=_sparse(features),
        edge_index=to_undirected(edges, num_nodes=nodes),
        y=torch.from_numpy(arrays["labels"]).long(),
        num_nodes=nodes,
    )
    return data, _split_file(card, folder, range(nodes))


def _npz(card: Card, folder: Path) -> tuple[Data, Split | None]:
    arrays = _arrays(folder / card.file("graph").name)
    nodes = len(arrays["node_labels"])
    edges = torch.from_numpy(arrays["edges"]).long().t()
    data = Data(
        x=torch.from_numpy(arrays["node_features"]).float(),
        edge_index=to_undirected(edges, num_nodes=nodes),
        y=torch.from_numpy(arrays["node_labels"]).long(),
        num_nodes=nodes,
    )
    index = card.split["index"] if card.split else 0
    return data, _from_masks(*(torch.from_numpy(arrays[f"{part}_masks"][index]) for part in ("train", "val", "test")))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _sparse(matrix: sp.csr_matrix) -> torch.Tensor:
    from graphattn.networks.features import sparse_features

    entries = matrix.tocoo()
    return sparse_features(entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data, matrix.shape)


def _from_masks(*masks: torch.Tensor) -> Split:
    return {part: mask.nonzero().view(-1).numpy() for part, mask in zip(("train", "valid", "test"), masks, strict=True)}


def _split_file(card: Card, folder: Path, ids: Sequence[object]) -> Split | None:
    """The standard split's file, if the card names one and it is there: some have no public address."""
    if card.split is None or "file" not in card.split or not (folder / card.split["file"]).is_file():
        return None
    path = folder / card.split["file"]
    if path.suffix == ".json":
        return read_split_file(path, len(ids))
    arrays: dict[str, Any] = _arrays(path)
    suffix = f"_{card.split['index']}" if "index" in card.split else ""
    split = {part: arrays[part + suffix].astype(np.int64) for part in ("train", "valid", "test")}
    if card.split["kind"] == "ids":
        row = {str(node): position for position, node in enumerate(ids)}
        split = {part: np.array([row[str(node)] for node in nodes], dtype=np.int64) for part, nodes in split.items()}
    return {part: np.sort(rows) for part, rows in split.items()}
