"""The class that every transform of structure derives from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphattn.structure.graphs import Graphs, read_graphs

# What the rows of an attribute belong to: the nodes; all pairs of nodes of each graph, flat, see `BlockDiagonalMask`; or
# edges that the transform makes: "edge_index" holds their source and target, [2, edges], "edge" has a row for each of them.
Place = Literal["node", "pair", "edge_index", "edge"]


class StructuralTransform(BaseTransform):
    """A transform that adds attributes which follow from the structure of a graph alone; works on `Data` and on `Batch`.

    Options are plain attributes: `repr` shows them, and the cache of `precompute` depends on it.

    Attributes:
        adds: the attributes that `compute` returns, and the place of each. The name of an "edge_index" must end in `_index`:
            torch_geometric then adds up node numbers where it batches graphs.
        keeps: those of them that data may bring along: where one is present, it is kept and nothing is computed.
        version: raised whenever `compute` changes its values, so that `precompute` does not read old ones from its cache.
        weight: the attribute of the data that holds edge weights, or None where every edge counts 1.
        turns: whether a small change to a graph may change all values, as a basis of eigenvectors turns. A model of one network
            keeps the values of its training, and `extend` gives those of the network as it is later.
    """

    adds: ClassVar[Mapping[str, Place]]
    keeps: ClassVar[tuple[str, ...]] = ()
    version: int = 1
    weight: str | None = None
    turns: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute" in vars(cls) and not hasattr(cls, "adds"):
            raise TypeError(f"{cls.__name__}.adds must say which attributes compute returns, and the place of each")
        for name, place in getattr(cls, "adds", {}).items():
            if (place == "edge_index") != name.endswith("_index"):
                rule = "an attribute must end in '_index' if, and only if, its place is 'edge_index'"
                raise TypeError(f"{cls.__name__}.adds: {rule}, got {name!r} at {place!r}")

    def is_given(self, data: Data) -> bool:
        """Whether the data already holds what the transform would add, and keeps it."""
        return any(data.get(name) is not None for name in self.keeps)

    @abstractmethod
    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        """The attributes in `adds`, name → values: those of nodes and node numbers in `graphs`' own order."""

    def extend(self, graphs: Graphs, values: dict[str, Tensor], known: Tensor) -> dict[str, Tensor]:
        """The attributes in `adds` of a graph that has changed since some were computed: by default they are computed again.

        Args:
            graphs: the graph as it is now.
            values: attribute → the values of before, [nodes, columns]; anything where a node is not known.
            known: which nodes were there before, bool, [nodes].
        """
        return self.compute(graphs)

    def agreement(self, graphs: Graphs, values: dict[str, Tensor], known: Tensor) -> Tensor:
        """What tells whether values belong to a graph, [columns]: about the same on the graph that they were computed on and on
        one that differs little from it, and about 0 on another graph. By default nothing does. Arguments as in `extend`.
        """
        return torch.zeros(0)

    def forward(self, data: Data) -> Data:
        graphs = read_graphs(data, self.weight)
        for name, value in self.compute(graphs).items():
            if name not in self.adds:
                raise TypeError(f"{type(self).__name__}.compute returned {name!r}, which adds does not name")
            place = self.adds[name]
            if place == "edge_index":
                data[name] = value if graphs.order is None else graphs.order[value]
            else:
                data[name] = graphs.to_caller(value) if place == "node" else value
        return data

    def __repr__(self) -> str:
        options: dict[str, Any] = {name: value for name, value in sorted(vars(self).items()) if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
