"""Where a network comes from: files, or the catalogue of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.networks import FeatureEncoding, load_network
from graphattn.networks.network import LabelKind
from graphattn.splits import Split
from graphattn.tables import name_of


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to train on or to label.

    Args:
        data: the graph, see `graphattn.networks.Network`.
        ids: name of each node.
        encoding: how its features were made; None where they came ready made.
        split: the standard split, where there is one.
        report: counts of what was found, see `graphattn.networks.Network`.
        notes: sentences on how it was read.
    """

    data: Data
    ids: list[str]
    encoding: FeatureEncoding | None
    split: Split | None
    report: dict[str, int]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NetworkFiles:
    """A network in files; arguments as in `graphattn.networks.load_network`, columns by default those of the trained run."""

    edges: Path
    nodes: Path | None = None
    features: Path | None = None
    id_column: str | None = None
    label_column: str | None = None
    source_column: str | None = None
    target_column: str | None = None
    feature_columns: Sequence[str] = ()
    adjacency_matrix: bool = False
    directed: bool = False
    ignore_unknown_edges: bool = False
    na_values: Sequence[str] = ()

    def columns(self) -> dict[str, Any]:
        """What a run's config holds of them, to label another network by."""
        columns: dict[str, Any] = {"id_column": self.id_column, "label_column": self.label_column, "directed": self.directed}
        return columns | ({"na_values": list(self.na_values)} if self.na_values else {})

    @property
    def name(self) -> str:
        return name_of(self.edges if self.nodes is None else self.nodes)

    def load(self, config: dict[str, Any] | None = None, label_kind: LabelKind = "classes") -> LoadedNetwork:
        """Reads it; `config` is the "data" entry of the config of the run that is to label it, whose features it gets."""
        trained = config or {}
        encoding = FeatureEncoding.from_dict(trained["encoding"]) if trained.get("encoding") else None
        if config is not None and encoding is None:
            raise InputError("this run was trained on a data set whose features came ready made; label it with --dataset")
        if encoding is not None and encoding.kind == "ids" and self.features is None:
            raise InputError("this run was trained with lists of features; give those of this network with --features")
        if encoding is not None and encoding.kind == "none" and (self.features is not None or self.feature_columns):
            raise InputError("this run was trained on structure alone; leave out --features and --feature-columns")
        network = load_network(
            self.edges,
            self.nodes,
            self.features,
            id_column=self.id_column or (trained.get("id_column") if self.nodes is not None else None),
            # Labels are not needed to label a network; they are read where they are.
            label_column=self.label_column or trained.get("label_column"),
            label_optional=self.label_column is None,
            source_column=self.source_column,
            target_column=self.target_column,
            feature_columns=self.feature_columns,
            adjacency_matrix=self.adjacency_matrix,
            directed=self.directed or trained.get("directed", False),
            ignore_unknown_edges=self.ignore_unknown_edges,
            na_values=[*self.na_values, *trained.get("na_values", [])],
            encoding=encoding,
            class_names=trained.get("class_names"),
            label_kind=label_kind,
        )
        return LoadedNetwork(network.data, network.ids, network.encoding, None, network.report, network.notes)


@dataclass(frozen=True)
class NetworkOfCatalogue:
    """A network of the catalogue of data sets."""

    name: str

    def columns(self) -> dict[str, Any]:
        """What a run's config holds of its files: nothing, as it has none."""
        return {"id_column": None, "label_column": None, "directed": False}

    def load(self, config: dict[str, Any] | None = None, label_kind: LabelKind = "classes") -> LoadedNetwork:
        """Loads it; `config` is the "data" entry of the config of the run that is to label it, whose features it must have."""
        from graphattn.data import load_network_dataset

        if label_kind != "classes":
            raise InputError(f"data set {self.name!r} has classes, not numbers; leave out --task regression")
        loaded = load_network_dataset(self.name)
        if config is not None:
            encoding = None if loaded.encoding is None else loaded.encoding.to_dict()
            if (encoding, loaded.class_names) != (config.get("encoding"), config["class_names"]):
                raise InputError(f"data set {self.name!r} has other features or classes than the run was trained with")
        source, target = loaded.data.edge_index
        # The catalogue's networks have no direction: each edge stands both ways, and a self-loop once.
        report = {"nodes": len(loaded.ids), "edges": int((source <= target).sum())}
        return LoadedNetwork(loaded.data, loaded.ids, loaded.encoding, loaded.split, report)


NetworkSource = NetworkFiles | NetworkOfCatalogue
