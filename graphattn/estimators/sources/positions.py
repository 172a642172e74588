"""Values of structure that hold for one network alone, such as eigenvectors, kept for the network as it is later."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.structure.graphs import read_graphs
from graphattn.structure.transform import StructuralTransform

# The share of the agreement on the network of training from which a network counts as the same one, changed. Where nodes are
# known by their numbers alone, it must be larger: after a node is left out, numbers stand for other nodes.
_AGREES, _AGREES_BY_NUMBER = 0.5, 0.8


@dataclass
class Positions:
    """What the nodes of the network of training had: the values of transforms that turn, see `StructuralTransform.turns`.

    Args:
        values: attribute → values, [nodes of training, columns].
        agreement: name of a transform → its `agreement` on the network of training, [columns].
        ids: a hash of each node's id, int64, [nodes of training], or None where nodes are known by their numbers.
    """

    values: dict[str, Tensor]
    agreement: dict[str, Tensor]
    ids: Tensor | None

    @classmethod
    def of(cls, data: Data, transforms: Sequence[StructuralTransform], structure: dict[str, Tensor]) -> Positions:
        """Those of a network to train on, whose structure is computed."""
        turning = [one for one in transforms if one.turns]
        values = {name: structure[name] for one in turning for name in one.adds}
        every = torch.ones(int(data.num_nodes or 0), dtype=torch.bool)
        agreement = {
            type(one).__name__: one.agreement(read_graphs(data, one.weight), {name: values[name] for name in one.adds}, every)
            for one in turning
        }
        return cls(values, agreement, _hashes(data) if turning else None)

    def on(self, data: Data, transforms: Sequence[StructuralTransform]) -> tuple[dict[str, Tensor], str | None]:
        """The values on a network: kept, extended to new nodes, or zero where it is not the one of training.

        Returns:
            attribute → values, [nodes, columns]; and a sentence where some nodes have no value.
        """
        found: dict[str, Tensor] = {}
        note = None
        nodes = int(data.num_nodes or 0)
        place, known = self._places(data)
        for one in (one for one in transforms if one.turns):
            graphs = read_graphs(data, one.weight)
            before = {}
            for name in one.adds:
                value = self.values[name]
                before[name] = value.new_zeros(nodes, value.shape[1])
                before[name][known] = value[place[known]]
            if self._agree(one.agreement(graphs, before, known), self.agreement[type(one).__name__]):
                found |= one.extend(graphs, before, known)
                continue
            found |= {name: torch.zeros_like(value) for name, value in before.items()}
            by = "data.ids" if self.ids is not None else "their numbers, as data.ids is not given"
            note = (
                f"this is not the network of training: {int(known.sum()):,} of {nodes:,} nodes have an id or number of it, and "
                f"their edges are others (nodes are known by {by}); positions ({', '.join(one.adds)}) hold for that network "
                "alone and are left out, so predictions go by features and degrees; a model for other networks is trained with "
                "encodings degree alone"
            )
        return found, note

    def _agree(self, here: Tensor, there: Tensor) -> bool:
        least = _AGREES if self.ids is not None else _AGREES_BY_NUMBER
        return bool((here * there).sum() >= least * there.square().sum())

    def _places(self, data: Data) -> tuple[Tensor, Tensor]:
        """The node of training that each node is, int64 [nodes], and whether it is one, bool [nodes]."""
        nodes = int(data.num_nodes or 0)
        trained = len(next(iter(self.values.values()))) if self.values else 0
        own = torch.arange(nodes)
        if self.ids is None:
            return own, own < trained
        ids = _hashes(data)
        if ids is None:
            raise InputError("data.ids must name the nodes, [nodes], as they did in training")
        order = self.ids.argsort()
        place = order[torch.searchsorted(self.ids[order], ids).clamp_max(trained - 1)]
        return place, self.ids[place] == ids

    def tensors(self) -> dict[str, Tensor]:
        """All of it as tensors by name, as `from_tensors` takes them."""
        named = {f"value.{name}": value for name, value in self.values.items()}
        named |= {f"agreement.{name}": value for name, value in self.agreement.items()}
        return named | ({} if self.ids is None else {"ids": self.ids})

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Positions:
        """The inverse of `tensors`."""
        groups: dict[str, dict[str, Tensor]] = {"value": {}, "agreement": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            if rest:
                groups[group][rest] = tensor
        return cls(groups["value"], groups["agreement"], tensors.get("ids"))

    def check(self, transforms: Sequence[StructuralTransform]) -> None:
        """Checks what a file held.

        Raises:
            InputError: where it does not fit the transforms of the model.
        """
        turning = [one for one in transforms if one.turns]
        if turning and not self.values:
            raise InputError("it holds no positions of its network, as models had none before this version: train it again")
        shapes = {tuple(value.shape[:1]) for value in self.values.values()} | (
            {tuple(self.ids.shape)} if self.ids is not None else set()
        )
        sound = self.values.keys() == {name for one in turning for name in one.adds}
        sound = sound and self.agreement.keys() == {type(one).__name__ for one in turning} and len(shapes) <= 1
        if not sound or not all(value.dim() == 2 and bool(value.isfinite().all()) for value in self.values.values()):
            raise InputError(f"its positions are not those of {', '.join(map(str, turning)) or 'no transform'}")


def _hashes(data: Data) -> Tensor | None:
    """A hash of the id of each node, int64, [nodes]; None without ids."""
    ids = data.get("ids")
    if ids is None:
        return None
    if len(ids) != data.num_nodes:
        raise InputError(f"data.ids must name each of {data.num_nodes} nodes, got {len(ids)}")
    digests = b"".join(hashlib.sha256(str(name).encode(errors="surrogatepass")).digest()[:8] for name in ids)
    return torch.from_numpy(np.frombuffer(digests, dtype=np.int64).copy())
