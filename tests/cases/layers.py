"""Layers and models: what they take, how they are made and called, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.structure import structure_transform

from .compare import gradients
from .graphs import Graphs

WIDTH, EDGE_DIM, ENCODINGS = 8, 3, {"degree": 1, "random_walk": 4, "laplacian": 3}
BIASES = {"distance": 2, "relative_walk": 4, "resistance": 2, "edge": EDGE_DIM}
EXTRA_EDGES = {"k_hop": 3, "expander": 3, "virtual": 2}
STRUCTURE = structure_transform(biases=BIASES, extra_edges=EXTRA_EDGES)


@dataclass(frozen=True)
class LayerInputs:
    """What layers take: graphs with vectors on nodes and edges, and what is known of their structure, named as transforms do.

    Encodings of nodes are drawn, as node vectors are; what is known of pairs, and edges beyond the graphs' own, is computed.
    """

    graphs: Graphs
    x: Tensor
    edge_attr: Tensor
    structure: dict[str, Tensor]

    @classmethod
    def draw(cls, made: Graphs, seed: int = 0) -> LayerInputs:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        encodings = {f"{name}_pe": normal(made.num_nodes, columns) for name, columns in ENCODINGS.items()}
        x, edge_attr = normal(made.num_nodes, WIDTH), normal(made.num_edges, EDGE_DIM)
        return cls(made, x, edge_attr, encodings | computed_structure(made))

    def select(self, made: Graphs, nodes: Tensor, edges: Tensor) -> LayerInputs:
        encodings = {name: columns[nodes] for name, columns in self.structure.items() if name.endswith("_pe")}
        chosen = LayerInputs(made, self.x[nodes], self.edge_attr[edges], encodings | computed_structure(made))
        return chosen.to(self.x.dtype)

    def to(self, dtype: torch.dtype) -> LayerInputs:
        structure = {name: value.to(dtype) if value.is_floating_point() else value for name, value in self.structure.items()}
        return replace(self, x=self.x.to(dtype), edge_attr=self.edge_attr.to(dtype), structure=structure)

    @property
    def floats(self) -> list[Tensor]:
        return [self.x, self.edge_attr, *(value for value in self.structure.values() if value.is_floating_point())]


def computed_structure(made: Graphs) -> dict[str, Tensor]:
    data = Data(edge_index=made.edge_index, num_nodes=made.num_nodes, batch=made.batch)
    known = set(data.keys())
    values = {name: value for name, value in STRUCTURE(data) if name not in known}
    return {name: value.double() if value.is_floating_point() else value for name, value in values.items()}


@dataclass(frozen=True)
class LayerCase:
    """One layer or model: how it is made, how it is called, and what its attention weights stand on."""

    name: str
    new: Callable[..., nn.Module]
    call: Callable[..., Any]
    per: str = "node"
    weights: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
        """In eval mode, every parameter moved off its initial value (biases begin at zero), the same at every call.

        Args:
            dtype: of the parameters.
            options: of the module, in place of those of the case.
        """
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = self.new(**options).double().eval()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter += 0.2 * torch.randn_like(parameter)
        return module.to(dtype)

    def __call__(self, module: nn.Module, inputs: LayerInputs, **options: Any) -> Any:
        return self.call(module, inputs, **options)


def layer_gradients(case: LayerCase, module: nn.Module, inputs: LayerInputs) -> list[Tensor]:
    """The output, and the gradients of the node vectors and of every parameter."""
    x = inputs.x.detach().clone().requires_grad_()
    out = case(module, replace(inputs, x=x))
    return [out.detach(), *gradients(out, [x, *module.parameters()])]
