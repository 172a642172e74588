"""A network: one graph whose nodes are the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.estimators.params import STRUCTURE_OPTIONS, NodeParams, shared_model_options
from graphattn.estimators.sources.source import Source
from graphattn.ops import AdjacencyMask
from graphattn.structure import precompute, structure_transform
from graphattn.train import Batch, Task, TaskJob


class NetworkSource(Source):
    """The whole network at once: one step an epoch, and the loss of its labelled nodes."""

    name = "nodes"

    @staticmethod
    def options(params: NodeParams, data: Data) -> dict[str, Any]:
        """The model's options, but for `out_channels`."""
        x = data.get("x")
        return {
            "in_channels": 0 if x is None else x.shape[1],
            **shared_model_options(params, {"degree": 1, "laplacian": 8} if x is None else {"degree": 1}),
            "attention_dropout": params.attention_dropout,
            "input_dropout": params.dropout,
        }

    def inputs(self, data: Data, device: torch.device) -> dict[str, Any]:
        """What the model is called with: made once, as the whole network is one batch."""
        x = data.get("x")
        width, expected = 0 if x is None else x.shape[1], self.model_options["in_channels"]
        if width != expected:
            raise InputError(f"data.x must have {expected} features, as in training, got {width}")
        if x is not None and not bool((x.values() if x.layout == torch.sparse_csr else x).isfinite().all()):
            raise InputError("data.x holds values that are NaN or infinite")
        transform = structure_transform(*(self.model_options[name] for name in STRUCTURE_OPTIONS))
        bare = Data(edge_index=data.edge_index, num_nodes=data.num_nodes)
        for name in (name for one in transform.transforms for name in one.keeps if data.get(name) is not None):
            bare[name] = data[name]
        (known,) = precompute([bare], transform, n_jobs=self.n_jobs)
        structure = {name: value for name, value in known if name not in ("edge_index", "num_nodes")}
        mask = AdjacencyMask.from_edge_index(data.edge_index, data.num_nodes)
        return {
            "x": None if x is None else (x if x.layout == torch.sparse_csr else x.float()).to(device),
            "edge_index": mask.to(device),
            "structure": {name: value.to(device) for name, value in structure.items()},
        }

    def job(
        self,
        task: Task,
        inputs: dict[str, Any],
        target: Tensor,
        train: Tensor,
        valid: Tensor,
    ) -> TaskJob:
        """One batch, which is the network.

        Args:
            task: what is learnt.
            inputs: what the model is called with.
            target: one for each node, [nodes]; those of nodes in neither part are not looked at.
            train, valid: numbers of the nodes, int64.
        """

        def batches(epoch: int) -> Iterator[Batch]:
            yield Batch(inputs, target[train], train)

        return TaskJob(task, batches, 1, [Batch(inputs, target[valid], valid)] if len(valid) else [])

    def outputs(self, model: nn.Module, task: Task, inputs: dict[str, Any]) -> np.ndarray:
        """The outputs of every node."""
        with torch.no_grad():
            raw = model(**inputs)
        outputs: np.ndarray = task.decode(raw).cpu().numpy()
        return outputs

    def check(self, config: dict[str, Any]) -> None:
        pass

    def pack(self, task: Task) -> dict[str, Any]:
        return task.config()

    def unpack(self, config: dict[str, Any]) -> dict[str, Any]:
        return config


def nodes_of_mask(mask: Any, num_nodes: int, name: str, labelled: np.ndarray) -> np.ndarray:
    """The labelled nodes of a mask or of a list of node numbers, int64; none for None.

    Raises:
        InputError: naming the argument, where it is neither.
    """
    nodes = np.asarray([] if mask is None else mask)
    if nodes.dtype == bool:
        if nodes.shape != (num_nodes,):
            raise InputError(f"{name} must have shape [{num_nodes}], got {list(nodes.shape)}")
        nodes = np.flatnonzero(nodes)
    nodes = nodes.astype(np.int64)
    if nodes.ndim != 1 or (len(nodes) and (nodes.min() < 0 or nodes.max() >= num_nodes)):
        raise InputError(f"{name} must be bool of shape [{num_nodes}] or node numbers below {num_nodes}")
    return nodes[labelled[nodes]]
