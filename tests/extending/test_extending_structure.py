"""An encoding, a pair bias, extra edges and an attention from outside the package: a class and a line, and taken everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from graphattn import InputError, MoleculeRegressor, NodeClassifier
from graphattn.nn import (
    ATTENTION,
    AttentionContext,
    AttentionOut,
    EncoderOptions,
    GraphTransformer,
    SelfAttention,
    register_attention,
)
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure import (
    STRUCTURE,
    Encoding,
    ExtraEdges,
    Graphs,
    PairBias,
    StructuralTransform,
    precompute,
    register_structure,
    structure_transform,
)
from graphattn.structure.kind import Size

SMILES = ["CCO", "CCC", "CCN", "C1CC1", "CCCl", "COC", "CC=O", "CCF", "C1CCC1", "CCS", "CO", "CN"]


class AddTriangles(StructuralTransform):
    """Triangles through each node, as often as the number says."""

    adds = {"triangles_at": "node"}

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        out = torch.zeros(graphs.num_nodes)
        for _, nodes, matrix in graphs.by_size():
            simple = ((matrix + matrix.mT) > 0).double()
            simple.diagonal(dim1=1, dim2=2).zero_()
            out[nodes] = (torch.linalg.matrix_power(simple, 3).diagonal(dim1=1, dim2=2) / 2).float()
        return {"triangles_at": out.unsqueeze(1).repeat(1, self.columns)}


class TriangleEncoding(Encoding):
    name = "triangles"
    reads = ("triangles_at",)
    computed_by = AddTriangles
    flips = 0

    @classmethod
    def augment(cls, values: Mapping[str, Tensor], batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        TriangleEncoding.flips += 1
        return {"triangles_at": values["triangles_at"] + 0}

    def __init__(self, columns: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(columns, channels)

    def forward(self, triangles: Tensor) -> Tensor:
        return self.embed(triangles)


class AddSameDegree(StructuralTransform):
    """Whether two nodes have the same number of edges into them."""

    adds = {"same_degree": "pair"}

    def __init__(self, number: int) -> None:
        self.number = number

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        degree = graphs.edge_index[1].bincount(minlength=graphs.num_nodes)
        parts = degree.split(graphs.sizes.tolist())
        return {"same_degree": torch.cat([(part.unsqueeze(1) == part).float().flatten() for part in parts])}


class SameDegreeBias(PairBias):
    name = "same_degree"
    reads = ("same_degree",)
    computed_by = AddSameDegree

    @classmethod
    def columns(cls, number: int) -> dict[str, int | None]:
        return {"same_degree": None}

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(heads))

    def forward(self, same: Tensor) -> Tensor:
        return same.unsqueeze(1) * self.weight


class AddChain(StructuralTransform):
    """An edge from each node to the next one of its graph."""

    adds = {"chain_index": "edge_index"}

    def __init__(self, number: int) -> None:
        self.number = number

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        source = torch.arange(max(graphs.num_nodes - 1, 0))
        inside = ~torch.isin(source + 1, graphs.ptr)
        return {"chain_index": torch.stack([source[inside], source[inside] + 1])}


class ChainEdges(ExtraEdges):
    name = "chain"
    reads = ("chain_index",)
    computed_by = AddChain

    def add(self, edges: AdjacencyMask, blocks: BlockDiagonalMask, *values: Tensor) -> AdjacencyMask:
        return edges | AdjacencyMask.from_edge_index(values[0], edges.num_targets)


class MeanAttention(SelfAttention):
    """The mean over the graph: the same weight for all."""

    @classmethod
    def for_encoder(cls, kind: str, options: EncoderOptions) -> MeanAttention:
        return cls(options.channels, options.channels, options.heads, True, True, 0.0, "channels")

    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        value = self.lin_value(x)
        batch = context.blocks.batch
        total = value.new_zeros(context.blocks.num_graphs, value.shape[1]).index_add(0, batch, value)
        return AttentionOut((total / context.blocks.ptr.diff().clamp(min=1).unsqueeze(1))[batch])

    def multiply_adds(self, size: Size) -> int:
        return size.nodes * self.lin_value.weight.numel()


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for kind in (TriangleEncoding, SameDegreeBias, ChainEdges):
        register_structure(kind)
    register_attention("mean", MeanAttention)
    yield
    for kind in (TriangleEncoding, SameDegreeBias, ChainEdges):
        del STRUCTURE[kind.option][kind.name]
    del ATTENTION["mean"]


def triangle_and_path() -> list[Data]:
    """A triangle with a tail, and a path of two nodes; both directions of every edge."""
    triangle, path = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3]]), torch.tensor([[0], [1]])
    return [
        Data(x=torch.randn(4, 6), edge_index=torch.cat([triangle, triangle.flip(0)], 1)),
        Data(x=torch.randn(2, 6), edge_index=torch.cat([path, path.flip(0)], 1)),
    ]


OPTIONS: dict[str, dict[str, int]] = {
    "encodings": {"triangles": 2, "degree": 1},
    "biases": {"same_degree": 1},
    "extra_edges": {"chain": 1},
}


def test_values_by_hand_alone_batched_and_precomputed(tmp_path: Path) -> None:
    graphs = triangle_and_path()
    transform = structure_transform(**OPTIONS)
    alone = [transform(graph.clone()) for graph in graphs]
    assert alone[0].triangles_at.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]
    assert alone[0].same_degree.view(4, 4)[0].tolist() == [1, 1, 0, 0]
    assert alone[0].chain_index.tolist() == [[0, 1, 2], [1, 2, 3]]
    batched = transform(Batch.from_data_list(graphs))
    for _ in range(2):  # computed, and from the cache
        ahead = precompute(graphs, transform, cache=tmp_path)
        for name in ("triangles_at", "same_degree", "chain_index"):
            assert all(torch.equal(one[name], other[name]) for one, other in zip(alone, ahead, strict=True))
            assert torch.equal(Batch.from_data_list(ahead)[name], batched[name])


def test_a_model_takes_the_names() -> None:
    batch = structure_transform(**OPTIONS)(Batch.from_data_list(triangle_and_path()))
    torch.manual_seed(0)
    model = GraphTransformer(
        6, 8, 1, num_layers=2, heads=2, readout="mean", attention=["masked+full", "masked+mean"], **OPTIONS
    )
    assert set(model.reads) == {"triangles_at", "degree_pe", "same_degree", "chain_index"}
    out = model(batch.x, batch.edge_index, None, batch.batch, structure=batch.to_dict())
    out.square().sum().backward()
    assert out.shape == (2, 1)
    unread = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all("attention.mean.lin_query" in name or "attention.mean.lin_key" in name for name in unread)
    assert bool(model.biases["same_degree"].weight.grad.any())
    assert model.layers[0].attention["masked"].edge_types == 2
    text = model.summary(batch)
    assert "triangles" in text
    assert "masked+mean attention" in text
    lacking = {name: value for name, value in batch.to_dict().items() if name != "triangles_at"}
    with pytest.raises(InputError, match=r"structure must hold .*, but triangles_at is not there"):
        model(batch.x, batch.edge_index, None, batch.batch, structure=lacking)


def test_estimators_take_the_names(tmp_path: Path) -> None:
    options: dict[str, Any] = {"channels": 8, "num_layers": 1, "heads": 2, "epochs": 2, "seed": 0, "device": "cpu"}
    TriangleEncoding.flips = 0
    fitted = MoleculeRegressor(attention="masked+full", **options, **OPTIONS).fit(SMILES, np.arange(12.0))
    assert TriangleEncoding.flips > 0  # its augmentation, in training alone
    flips = TriangleEncoding.flips
    expected = fitted.predict(SMILES)
    assert TriangleEncoding.flips == flips
    fitted.save_pretrained(tmp_path)
    assert np.array_equal(MoleculeRegressor.from_pretrained(tmp_path).predict(SMILES), expected)
    network = Batch.from_data_list(triangle_and_path() * 3)
    network.y = torch.arange(network.num_nodes) % 2
    nodes = NodeClassifier(attention="mean", **options, encodings={"triangles": 1})
    assert (
        len(
            nodes.fit(Data(edge_index=network.edge_index, y=network.y, num_nodes=18), range(9), range(9, 18)).predict(
                Data(edge_index=network.edge_index, num_nodes=18)
            )
        )
        == 18
    )


def test_what_can_not_be_registered() -> None:
    class Unnamed(Encoding):
        pass

    class Taken(Encoding):
        name = "degree"

    with pytest.raises(InputError, match=r"Unnamed\.name must be an identifier, got None"):
        register_structure(Unnamed)
    with pytest.raises(InputError, match="encodings 'degree' is already registered, by DegreeEncoding"):
        register_structure(Taken)
    with pytest.raises(InputError, match="kind must be a subclass of Encoding, PairBias or ExtraEdges, got <class 'int'>"):
        register_structure(int)  # type: ignore[type-var]
    with pytest.raises(InputError, match="attention 'full' is already registered, by FullSelfAttention"):
        register_attention("full", MeanAttention)
    with pytest.raises(InputError, match=r"name must not be empty or hold '\+', got 'a\+b'"):
        register_attention("a+b", MeanAttention)
    with pytest.raises(InputError, match="layer must be a subclass of SelfAttention"):
        register_attention("linear", nn.Linear)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match="an attribute must end in '_index' if, and only if, its place is 'edge_index', got 'x'"
    ):

        class Wrong(StructuralTransform):
            adds = {"x": "edge_index"}


def test_two_kinds_that_add_nodes_are_refused() -> None:
    class Hubs(ChainEdges):
        name = "hubs"
        num_nodes = 1

    register_structure(Hubs)
    try:
        with pytest.raises(InputError, match="extra_edges may have one kind that adds virtual nodes, got virtual, hubs"):
            GraphTransformer(6, 8, 1, extra_edges={"hubs": 1, "virtual": 1})
    finally:
        del STRUCTURE["extra_edges"]["hubs"]
