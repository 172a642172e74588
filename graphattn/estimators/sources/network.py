"""A network: one graph whose nodes are the rows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from graphattn.errors import InputError
from graphattn.estimators.params import STRUCTURE_OPTIONS, NodeParams, shared_model_options
from graphattn.estimators.sources.positions import Positions
from graphattn.estimators.sources.source import Source
from graphattn.ops import AdjacencyMask
from graphattn.structure import precompute, structure_transform
from graphattn.train import Batch, Task, TaskJob

# The share of nodes that are without a position in each epoch, so that a model can do without, as it must on another network.
_POSITION_DROPOUT = 0.35


class NetworkSource(Source):
    """The whole network at once: one step an epoch, and the loss of its labelled nodes."""

    name = "nodes"
    positions: Positions | None = None

    @staticmethod
    def options(params: NodeParams, data: Data) -> dict[str, Any]:
        """The model's options, but for `out_channels`."""
        x = data.get("x")
        return {
            "in_channels": 0 if x is None else x.shape[1],
            **shared_model_options(params, {"degree": 1, "laplacian": 8}),
            "attention_dropout": params.attention_dropout,
            "input_dropout": params.dropout,
        }

    def inputs(self, data: Data, device: torch.device, notify: Callable[[str], None] = warnings.warn) -> dict[str, Any]:
        """What the model is called with: made once, as the whole network is one batch.

        The first network is the one to train on; of another, or of the same one later, positions are those of the first.

        Args:
            data: the network.
            device: where the model is.
            notify: called with a sentence where positions are left out.
        """
        x = data.get("x")
        width, expected = 0 if x is None else x.shape[1], self.model_options["in_channels"]
        if width != expected:
            raise InputError(f"data.x must have {expected} features, as in training, got {width}")
        if x is not None and not bool((x.values() if x.layout == torch.sparse_csr else x).isfinite().all()):
            raise InputError("data.x holds values that are NaN or infinite")
        structure = self._structure(data, notify)
        mask = AdjacencyMask.from_edge_index(data.edge_index, data.num_nodes)
        return {
            "x": None if x is None else (x if x.layout == torch.sparse_csr else x.float()).to(device),
            "edge_index": mask.to(device),
            "structure": {name: value.to(device) for name, value in structure.items()},
        }

    def _structure(self, data: Data, notify: Callable[[str], None]) -> dict[str, Tensor]:
        """The attributes of structure that the model reads."""
        transforms = structure_transform(*(self.model_options[name] for name in STRUCTURE_OPTIONS)).transforms
        bare = Data(edge_index=data.edge_index, num_nodes=data.num_nodes)
        for name in (name for one in transforms for name in one.keeps if data.get(name) is not None):
            bare[name] = data[name]
        first = self.positions is None
        (known,) = precompute([bare], Compose([one for one in transforms if first or not one.turns]), n_jobs=self.n_jobs)
        structure: dict[str, Tensor] = {name: value for name, value in known if name not in ("edge_index", "num_nodes")}
        if self.positions is None:
            self.positions = Positions.of(data, transforms, structure)
        else:
            positions, note = self.positions.on(data, transforms)
            structure |= positions
            if note is not None:
                notify(note)
        return structure

    def job(
        self,
        task: Task,
        inputs: dict[str, Any],
        target: Tensor,
        train: Tensor,
        valid: Tensor,
        *,
        seed: int,
    ) -> TaskJob:
        """One batch, which is the network; in each epoch some nodes are without positions.

        Args:
            task: what is learnt.
            inputs: what the model is called with.
            target: one for each node, [nodes]; those of nodes in neither part are not looked at.
            train, valid: numbers of the nodes, int64.
            seed: decides, with the epoch, which nodes.
        """
        turning = [] if self.positions is None else list(self.positions.values)

        def batches(epoch: int) -> Iterator[Batch]:
            structure = dict(inputs["structure"])
            if turning:
                generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
                kept = torch.rand(len(target), 1, generator=generator) >= _POSITION_DROPOUT
                structure |= {name: structure[name] * kept.to(structure[name].device) for name in turning}
            yield Batch({**inputs, "structure": structure}, target[train], train)

        return TaskJob(task, batches, 1, [Batch(inputs, target[valid], valid)] if len(valid) else [])

    def outputs(self, model: nn.Module, task: Task, inputs: dict[str, Any]) -> np.ndarray:
        """The outputs of every node.

        Raises:
            InputError: where one is no finite number.
        """
        with torch.no_grad():
            raw = model(**inputs)
        outputs: np.ndarray = task.decode(raw).cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))
        if len(bad):
            raise InputError(f"the model gives no finite value for {len(bad):,} of {len(outputs):,} nodes, first node {bad[0]}")
        return outputs

    def check(self, config: dict[str, Any]) -> None:
        pass

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.positions is None else self.positions.tensors()

    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.positions = Positions.from_tensors(tensors)
        transforms = structure_transform(*(self.model_options[name] for name in STRUCTURE_OPTIONS)).transforms
        self.positions.check(transforms)

    def pack(self, task: Task) -> dict[str, Any]:
        return task.config()

    def unpack(self, config: dict[str, Any]) -> dict[str, Any]:
        return config


def as_network(data: Any) -> Data:
    """A network whose `edge_index` and `x` are tensors that a model reads, from what people have; the given data stay.

    Args:
        data: a torch_geometric `Data` whose `edge_index` and `x` may be tensors, numpy arrays or lists, `x` also a sparse
            tensor of any layout, a scipy matrix, or one number a node.

    Raises:
        InputError: where it is no `Data`, or one of the two cannot be read so.
    """
    if not isinstance(data, Data):
        raise InputError(f"data must be a torch_geometric Data with edge_index, got {type(data).__name__}")
    edge_index = _as_tensor(data.get("edge_index"), "data.edge_index")
    if edge_index is None or edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
        given = "None" if edge_index is None else f"{edge_index.dtype} {list(edge_index.shape)}"
        raise InputError(f"data.edge_index must be integers of shape [2, edges], got {given}")
    made = copy.copy(data)
    made.edge_index, x = edge_index, _as_tensor(data.get("x"), "data.x")
    if x is None:
        return made
    num_nodes = x.shape[0] if "num_nodes" not in data else data.num_nodes
    if x.dim() == 1 and x.layout == torch.strided:
        x = x.unsqueeze(1)
    if x.dim() != 2 or x.shape[0] != num_nodes or x.is_complex():
        raise InputError(f"data.x must hold numbers of shape [{num_nodes}, features], got {x.dtype} {list(x.shape)}")
    made.x = x if x.layout in (torch.strided, torch.sparse_csr) else x.to_sparse_csr()
    return made


def _as_tensor(value: Any, name: str) -> Tensor | None:
    """A tensor, from a tensor, an array, a list or a scipy matrix."""
    if value is None or isinstance(value, Tensor):
        return value
    from scipy import sparse

    try:
        if sparse.issparse(value):
            rows = sparse.csr_array(value)
            pointers, columns = (torch.from_numpy(part.astype(np.int64)) for part in (rows.indptr, rows.indices))
            return torch.sparse_csr_tensor(pointers, columns, torch.from_numpy(rows.data), rows.shape, check_invariants=False)
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a tensor or an array of numbers, got a {type(value).__name__} of others") from None


def nodes_of_mask(mask: Any, num_nodes: int, name: str, labelled: np.ndarray) -> np.ndarray:
    """The labelled nodes of a mask or of a list of node numbers, int64; none for None.

    A mask has an entry for each node, all of them bool, or 0 and 1 as numpy and npz files hold them.

    Raises:
        InputError: naming the argument, where it is neither, or names a node twice.
    """
    given = np.asarray([] if mask is None else mask)
    if given.dtype == object:  # of pandas, perhaps with missing values
        given = np.asarray(given.tolist())
    if given.dtype.kind not in "biuf" or given.ndim != 1:
        what = f"{given.dtype} {list(given.shape)}"
        raise InputError(f"{name} must be bool of shape [{num_nodes}], or node numbers below {num_nodes}, got {what}")
    if given.dtype.kind == "b" and len(given) != num_nodes:
        raise InputError(f"{name} must have shape [{num_nodes}], got {list(given.shape)}")
    if len(given) == num_nodes and np.isin(given, (0, 1)).all():
        nodes = np.flatnonzero(given)
    elif given.dtype.kind == "f" and len(given):
        raise InputError(f"{name} must be bool, 0 and 1 for each of {num_nodes} nodes, or node numbers, got {given.dtype}")
    else:
        nodes = given.astype(np.int64)
        if len(nodes) and (nodes.min() < 0 or nodes.max() >= num_nodes):
            raise InputError(
                f"{name} must hold node numbers from 0 to {num_nodes - 1}, got values from {nodes.min()} to {nodes.max()}"
            )
        values, counts = np.unique(nodes, return_counts=True)
        if (counts > 1).any():
            twice = values[counts > 1]
            raise InputError(f"{name} must name each node once, but names {len(twice):,} more often, such as node {twice[0]}")
    return nodes[labelled[nodes]]
