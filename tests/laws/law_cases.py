"""What the laws are held against: every form of the op, every layer, and the graphs that hypothesis draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.nn import (
    AttentionContext,
    EncoderLayer,
    FullSelfAttention,
    GraphHead,
    GraphTransformer,
    MaskedSelfAttention,
    NodeHead,
    SparseLinear,
    conv,
)
from graphattn.nn.encoder import attention_parts
from graphattn.ops import NORMALISERS, Additive, AdjacencyMask, BlockDiagonalMask, EdgeFeatures, Mask, Static, attention
from graphattn.ops.backends import CPU
from graphattn.ops.cpu import sort
from graphattn.structure import structure_transform

law = settings(deadline=None, derandomize=True, max_examples=10, database=None, suppress_health_check=[HealthCheck.too_slow])

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
HEADS, CHANNELS, VALUE_CHANNELS, EDGE_CHANNELS = 2, 3, 4, 2
WIDTH, EDGE_DIM, ENCODINGS = 8, 3, {"degree": 1, "random_walk": 4, "laplacian": 3}
BIASES = {"distance": 2, "relative_walk": 4, "resistance": 2, "edge": EDGE_DIM}
EXTRA_EDGES = {"k_hop": 3, "expander": 3, "virtual": 2}
STRUCTURE = structure_transform(biases=BIASES, extra_edges=EXTRA_EDGES)


def assert_equal(actual: Tensor, expected: Tensor, dtype: torch.dtype | None = None, terms: float = 1.0) -> None:
    """max|a - b| / max|b| within the tolerance of `dtype` (default: of `actual`).

    A tensor that is zero but for rounding has no relative error: 7e-15 in float64 and 1e-6 in float32 pass as well, times the
    size of the `terms` that cancel, where that is more than one.
    """
    dtype = dtype or actual.dtype
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    if actual.numel() == 0:
        return
    actual, expected = actual.detach().cpu(), expected.detach().cpu()
    error = float((actual.double() - expected.double()).abs().max())
    rounding = max(terms, 1.0) * (7e-15 if dtype == torch.float64 else 1e-6)
    allowed = max(TOLERANCE[dtype] * float(expected.abs().max()), rounding)
    assert error <= allowed, f"{error:.3g} apart, {allowed:.3g} allowed"


def same_bits(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@contextmanager
def items_of(size: int) -> Iterator[None]:
    """Items of work of so many edges in masks first used meanwhile: small graphs have hubs, whose rows are cut, too."""
    before = sort.SMALLEST_ITEM
    sort.SMALLEST_ITEM = size
    try:
        yield
    finally:
        sort.SMALLEST_ITEM = before


# --- graphs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graphs:
    """Some graphs as one: edges never join two of them, and `batch` need not be sorted."""

    batch: Tensor
    edge_index: Tensor
    num_graphs: int

    @property
    def num_nodes(self) -> int:
        return self.batch.shape[0]

    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    def adjacency(self) -> AdjacencyMask:
        """Made anew each time: the mask that is remembered of an edge list has its items cut already."""
        return AdjacencyMask.from_edge_index(self.edge_index.clone(), self.num_nodes)

    def blocks(self) -> BlockDiagonalMask:
        return BlockDiagonalMask.from_batch(self.batch.clone(), self.num_graphs)

    def mask(self, kind: str) -> Mask:
        return self.adjacency() if kind == "adjacency" else self.blocks()

    def pairs(self, kind: str) -> list[tuple[int, int]]:
        """(source, target) of every edge or of every pair of a block, listed without the help of the masks."""
        if kind == "adjacency":
            return [(int(j), int(i)) for j, i in self.edge_index.t()]
        listed = []
        for graph in range(self.num_graphs):
            nodes = [node for node in range(self.num_nodes) if int(self.batch[node]) == graph]
            listed += [(j, i) for i in nodes for j in nodes]
        return listed

    def only(self, graph: int) -> tuple[Graphs, Tensor, Tensor]:
        """One of the graphs alone; its nodes and its edges among all."""
        nodes = (self.batch == graph).nonzero().flatten()
        edges = (self.batch[self.edge_index[1]] == graph).nonzero().flatten()
        place = torch.full((self.num_nodes,), -1)
        place[nodes] = torch.arange(nodes.shape[0])
        alone = Graphs(torch.zeros_like(nodes), place[self.edge_index[:, edges]], 1)
        return alone, nodes, edges

    def permuted(self, nodes: Tensor, edges: Tensor) -> Graphs:
        """Node `nodes[k]` becomes node k; edge `edges[k]` becomes edge k."""
        place = torch.empty_like(nodes)
        place[nodes] = torch.arange(nodes.shape[0])
        return Graphs(self.batch[nodes], place[self.edge_index[:, edges]], self.num_graphs)


@st.composite
def graphs(draw: st.DrawFn) -> Graphs:
    """One to four graphs, some empty or of one node, with hubs, self-loops, multi-edges and nodes without edges."""
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    batch, edges = [], []
    for graph, size in enumerate(sizes):
        first = len(batch)
        batch += [graph] * size
        if size:
            node = st.integers(first, first + size - 1)
            edges += draw(st.lists(st.tuples(node, node), max_size=2 * size))
            if draw(st.booleans()):
                edges += [(source, first) for source in range(first, first + size)]
    made = Graphs(torch.tensor(batch, dtype=torch.long), torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), len(sizes))
    if not draw(st.booleans()):
        return made
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return made.permuted(
        torch.randperm(made.num_nodes, generator=generator), torch.randperm(made.num_edges, generator=generator)
    )


@st.composite
def rectangular(draw: st.DrawFn) -> AdjacencyMask:
    """Keys and queries on different nodes; hubs and empty rows among the targets."""
    sources, targets = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    edges: list[tuple[int, int]] = []
    if sources and targets:
        edges = draw(st.lists(st.tuples(st.integers(0, sources - 1), st.integers(0, targets - 1)), max_size=15))
        if draw(st.booleans()):
            edges += [(source, 0) for source in range(sources)]
    return AdjacencyMask.from_edge_index(torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), (sources, targets))


def large_graphs(nodes: int = 600, edges: int = 6000, num_graphs: int = 6) -> Graphs:
    """Large enough for torch to share the work among threads; half of the edges go to hubs."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.arange(nodes) * num_graphs // nodes
    size = nodes // num_graphs
    first = torch.randint(num_graphs, (edges,), generator=generator) * size
    source = torch.randint(size, (edges,), generator=generator)
    target = torch.randint(size, (edges,), generator=generator) * (torch.arange(edges) % 2)
    return Graphs(batch, torch.stack([first + source, first + target]), num_graphs)


# --- the op ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpCase:
    """One form of `graphattn.ops.attention`."""

    mask: str
    score: str
    normaliser: str
    bias: bool
    edge_attr: bool
    backend: str = "cpu"

    def __str__(self) -> str:
        extras = "-bias" * self.bias + "-edges" * self.edge_attr
        return f"{self.mask}-{self.score}-{self.normaliser}{extras}"

    @property
    def fused(self) -> bool:
        """Whether the fused kernels know this form."""
        return self.normaliser in CPU.normalisers

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Runs with GRAPHATTN_BACKEND, which raises instead of falling back to the plain version; `fused` forms only."""
        before = os.environ.get("GRAPHATTN_BACKEND")
        if self.fused:
            os.environ["GRAPHATTN_BACKEND"] = self.backend
        try:
            yield
        finally:
            os.environ.pop("GRAPHATTN_BACKEND", None)
            if before is not None:
                os.environ["GRAPHATTN_BACKEND"] = before

    def tensors(
        self,
        pairs: int,
        sources: int,
        targets: int,
        seed: int = 0,
        heads: int = HEADS,
        channels: int = CHANNELS,
        value_channels: int = VALUE_CHANNELS,
    ) -> dict[str, Tensor]:
        """Every tensor that this form takes, by name, standard normal in float64."""
        shapes: dict[str, tuple[int, ...]] = {
            "query": (targets, heads, channels),
            "key": (sources, heads, channels),
            "value": (sources, heads, value_channels),
        }
        if self.score != "dot":
            shapes["weight"] = (2, heads, channels) if self.score == "static" else (heads, channels)
        if self.bias:
            shapes["bias"] = (pairs, heads)
        if self.edge_attr:
            shapes["attr"] = (pairs, EDGE_CHANNELS)
            shapes["key_weight"] = (heads, channels, EDGE_CHANNELS)
            shapes["value_weight"] = (heads, value_channels, EDGE_CHANNELS)
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
            for name, shape in shapes.items()
        }

    def of(self, made: Graphs, seed: int = 0, **sizes: int) -> dict[str, Tensor]:
        return self.tensors(len(made.pairs(self.mask)), made.num_nodes, made.num_nodes, seed, **sizes)

    def __call__(self, mask: Mask, tensors: dict[str, Tensor], **options: Any) -> Any:
        score: Any = "dot"
        if self.score == "static":
            score = Static(tensors["weight"])
        elif self.score != "dot":
            score = Additive(tensors["weight"], activation="tanh" if self.score == "tanh" else "leaky_relu")
        features = EdgeFeatures(*(tensors[n] for n in ("attr", "key_weight", "value_weight"))) if self.edge_attr else None
        query, key, value = (tensors[name] for name in ("query", "key", "value"))
        options = {"normaliser": self.normaliser, "bias": tensors.get("bias"), "edge_attr": features, **options}
        return attention(query, key, value, mask, score=score, **options)


SCORES = ("dot", "additive", "tanh", "static")
FUSED_NORMALISERS = ("softmax", "sigmoid", "relu", "softmax1")
ALL_OP_CASES = [
    OpCase(mask, score, normaliser, bias, edge_attr)
    for mask, score, normaliser, bias, edge_attr in product(
        ("adjacency", "block"), SCORES, NORMALISERS, (False, True), (False, True)
    )
    if not (mask == "block" and edge_attr)
]


def _covers(case: OpCase) -> bool:
    """Each score with each normaliser once, so that every two choices, such as a score and edge features, meet."""
    if not case.fused:
        return True
    score, normaliser = SCORES.index(case.score), FUSED_NORMALISERS.index(case.normaliser)
    edges = (score + normaliser) % 2 == 0
    bias = (score // 2 + normaliser) % 2 == 1
    edge_attr = edges and (normaliser == 1 or (score == 0) == (normaliser == 0))
    return (case.mask == "adjacency", case.bias, case.edge_attr) == (edges, bias, edge_attr)


# A form of the fused CPU kernels takes seconds to compile, and again for every type and for dropout. The laws are held against
# those that let every two choices meet, in all types; against all forms where GRAPHATTN_ALL_FORMS is set (`make test-all`),
# in float64 without dropout.
ALL_FORMS = bool(os.environ.get("GRAPHATTN_ALL_FORMS"))
COVERING_CASES = [case for case in ALL_OP_CASES if _covers(case)]
OP_CASES = ALL_OP_CASES if ALL_FORMS else COVERING_CASES
RECTANGULAR_CASES = [case for case in OP_CASES if case.mask == "adjacency"]


def types(case: OpCase | LayerCase) -> list[torch.dtype]:
    """The types to draw from for a form of the op, or for a layer."""
    few = COVERING_CASES if isinstance(case, OpCase) else [*COVERING_LAYER_CASES, *DROPIN_CASES]
    return [torch.float64, torch.float32] if case in few else [torch.float64]


def gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random projection of `out`, the same numbers in every dtype; zero where an input plays no part."""
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(out)
    return list(torch.autograd.grad(out, inputs, direction, allow_unused=True, materialize_grads=True))


# --- the layers -----------------------------------------------------------------------------------------------------


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
    new: Callable[[], nn.Module]
    call: Callable[..., Any]
    per: str = "node"
    weights: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """In eval mode, every parameter moved off its initial value (biases begin at zero), the same at every call."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = self.new().double().eval()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter += 0.2 * torch.randn_like(parameter)
        return module.to(dtype)

    def __call__(self, module: nn.Module, inputs: LayerInputs, **options: Any) -> Any:
        return self.call(module, inputs, **options)


def _masked(module: nn.Module, i: LayerInputs, **options: Any) -> Any:
    return module(i.x, i.graphs.edge_index, i.edge_attr if module.edge_dim else None, **options)


def _typed(module: nn.Module, i: LayerInputs, **options: Any) -> Any:
    """The type of an edge follows from its features, so that it goes with the edge wherever that stands."""
    mask = i.graphs.adjacency().with_types((i.edge_attr[:, 0] > 0).long(), 2)
    return module(i.x, mask, i.edge_attr, **options)


def _full(module: nn.Module, i: LayerInputs, **options: Any) -> Any:
    return module(i.x, i.graphs.batch, **options)


def _encoder(module: nn.Module, i: LayerInputs, **options: Any) -> Any:
    out = module(i.x, AttentionContext(i.graphs.adjacency(), i.graphs.blocks(), i.edge_attr), **options)
    return (out.x, out.weights) if options.get("return_attention") else out.x


def _model(module: nn.Module, i: LayerInputs, **options: Any) -> Any:
    attr = i.edge_attr if module.edge_dim else None
    structure = {name: i.structure[name] for name in module.reads}
    options = {"structure": structure, "batch_size": i.graphs.num_graphs, **options}
    return module(i.x, i.graphs.edge_index, attr, i.graphs.batch, **options)


def _graph_head(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x, i.graphs.batch, i.graphs.num_graphs)


def _rows(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x)


def _sparse_rows(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x.relu().to_sparse_csr())


def _layer_cases() -> Iterator[LayerCase]:
    on = {"masked": "edges", "full": "pairs", "pair": "pairs"}
    for score, normaliser in product(("dot", "additive", "static"), NORMALISERS):
        kind = {"score": score, "normaliser": normaliser}
        yield LayerCase(
            f"masked-{score}-{normaliser}",
            lambda kind=kind: MaskedSelfAttention(WIDTH, WIDTH, 2, edge_dim=EDGE_DIM, **kind),
            _masked,
            weights=("edges",),
        )
        yield LayerCase(
            f"full-{score}-{normaliser}",
            lambda kind=kind: FullSelfAttention(WIDTH, WIDTH, 2, **kind),
            _full,
            weights=("pairs",),
        )
    for name, options in {
        "bare": {"bias": False, "out_proj": False},
        "loops": {"heads": 2, "add_self_loops": True},
        "loops-edges": {"heads": 2, "add_self_loops": True, "edge_dim": EDGE_DIM, "score": "additive"},
    }.items():
        yield LayerCase(
            f"masked-{name}",
            lambda options=options: MaskedSelfAttention(WIDTH, WIDTH, **options),
            _masked,
            weights=("loops" if "loops" in name else "edges",),
        )
    yield LayerCase(
        "masked-types",
        lambda: MaskedSelfAttention(WIDTH, WIDTH, 2, edge_dim=EDGE_DIM, edge_types=3),
        _typed,
        weights=("edges",),
    )
    yield LayerCase("full-bare", lambda: FullSelfAttention(WIDTH, WIDTH, bias=False, out_proj=False), _full, weights=("pairs",))
    for attention_kind, norm in product(("masked", "full"), ("pre", "post")):
        yield LayerCase(
            f"encoder-{attention_kind}-{norm}",
            lambda a=attention_kind, n=norm: EncoderLayer(
                WIDTH, 2, attention=a, norm=n, edge_dim=EDGE_DIM if a == "masked" else None
            ),
            _encoder,
            weights=(on[attention_kind],),
        )
    models: dict[str, dict[str, Any]] = {
        "node": {"edge_dim": EDGE_DIM},
        "node-full": {"attention": "full", "score": "additive", "norm": "post"},
        "mean": {"readout": "mean", "attention": ("masked", "full"), "edge_dim": EDGE_DIM, "encodings": ENCODINGS},
        "sum": {"readout": "sum", "attention": ("full", "masked"), "normaliser": "entmax15"},
        "attention": {"readout": "attention", "attention": "full", "encodings": ENCODINGS},
        "hybrid": {"attention": ("masked+full", "masked"), "edge_dim": EDGE_DIM, "biases": BIASES},
        "pair": {"attention": ("pair", "masked+pair"), "edge_dim": EDGE_DIM, "biases": BIASES, "norm": "post"},
        "linear": {"attention": ("masked+sgformer", "polynormer"), "edge_dim": EDGE_DIM},
        "performer": {"attention": "performer", "readout": "mean"},
        "far": {"extra_edges": {"k_hop": 3, "virtual": 2}, "readout": "virtual", "edge_dim": EDGE_DIM},
        "expander": {"extra_edges": {"expander": 3}},
    }
    for name, options in models.items():
        kinds = options.get("attention", "masked")
        kinds = (kinds, kinds) if isinstance(kinds, str) else kinds
        # Linear attention has no weights; those of extra edges come after the edges, see tests/nn/test_nn_model.py.
        plain = name in ("linear", "performer", "far", "expander")
        weights = () if plain else tuple(on[part] for kind in kinds for part in attention_parts(kind))
        yield LayerCase(
            f"model-{name}",
            lambda options=options: GraphTransformer(WIDTH, WIDTH, 3, num_layers=2, heads=2, **options),
            _model,
            per="graph" if "readout" in options else "node",
            weights=weights,
        )
    for pool in ("mean", "sum", "attention"):
        yield LayerCase(f"graph-head-{pool}", lambda pool=pool: GraphHead(WIDTH, 3, pool=pool), _graph_head, per="graph")
    yield LayerCase("node-head", lambda: NodeHead(WIDTH, 3), _rows)
    yield LayerCase("sparse-linear-dense", lambda: SparseLinear(WIDTH, 5), _rows)
    yield LayerCase("sparse-linear-csr", lambda: SparseLinear(WIDTH, 5), _sparse_rows)


def _edges_only(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x, i.graphs.edge_index)


def _edges_with_features(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x, i.graphs.edge_index, i.edge_attr)


def _edges_and_batch(module: nn.Module, i: LayerInputs) -> Any:
    return module(i.x, i.graphs.edge_index, i.graphs.batch)


def _dropin_cases() -> Iterator[LayerCase]:
    """The layers that promise torch_geometric's behaviour, so that some laws do not bind them; see below."""
    of_edges: dict[str, Callable[..., nn.Module]] = {
        "gat": conv.GATConv, "gatv2": conv.GATv2Conv, "transformer": conv.TransformerConv,
    }  # fmt: skip
    for name, layer in of_edges.items():
        yield LayerCase(f"pyg-{name}", lambda layer=layer: layer(WIDTH, 4, 2), _edges_only)
        with_features = partial(layer, WIDTH, 4, 2, edge_dim=EDGE_DIM)
        yield LayerCase(f"pyg-{name}-edges", with_features, _edges_with_features)
    yield LayerCase("pyg-gps", lambda: conv.GPSConv(WIDTH, conv.GATConv(WIDTH, WIDTH), heads=2), _edges_and_batch)


# Exempt of the layers that promise torch_geometric's behaviour:
# - law 6: asked for, their weights come in its form, with its self-loops; not asked for, there is the plain tensor;
# - law 7: parameters of its GATConv and GATv2Conv outside of linear maps, and of its batch norm, lift what autocast lowered;
# - laws 1, 2, 5 and 7 on batches without a node, which its GPSConv refuses; hypothesis draws such batches.
_ALL_LAYER_CASES = list(_layer_cases())
# As of the op's forms, some suffice: those under softmax.
COVERING_LAYER_CASES = [
    case for case in _ALL_LAYER_CASES if not any(case.name.endswith(f"-{name}") for name in NORMALISERS if name != "softmax")
]
LAYER_CASES = _ALL_LAYER_CASES if ALL_FORMS else COVERING_LAYER_CASES
DROPIN_CASES = list(_dropin_cases())
DROPIN_CASES_WITHOUT_NODES = [case for case in DROPIN_CASES if case.name != "pyg-gps"]
ATTENTION_LAYER_CASES = [case for case in LAYER_CASES if case.weights]


def layer_gradients(case: LayerCase, module: nn.Module, inputs: LayerInputs) -> list[Tensor]:
    """The output, and the gradients of the node vectors and of every parameter."""
    x = inputs.x.detach().clone().requires_grad_()
    out = case(module, replace(inputs, x=x))
    return [out.detach(), *gradients(out, [x, *module.parameters()])]
