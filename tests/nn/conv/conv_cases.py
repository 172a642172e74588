"""The options of the drop-in layers, and what a layer gives for each: outputs and all gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_geometric.utils
from torch import Tensor, nn
from torch_geometric import EdgeIndex

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
# Where the true number is zero, such as the gradient of a bias that softmax takes out again, both sides give rounding.
ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-14}
LAYERS = ("GATConv", "GATv2Conv", "TransformerConv")
NODES, TARGETS, WIDTH, TARGET_WIDTH, EDGE_DIM, OUT, HEADS = 9, 5, 5, 6, 3, 4, 2


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def edges(sources: int = NODES, targets: int = NODES, count: int = 40) -> Tensor:
    """With self-loops and multi-edges; nothing goes to the last target, nor comes from the last source."""
    generator = torch.Generator().manual_seed(3)
    source, target = (torch.randint(size - 1, (count,), generator=generator) for size in (sources, targets))
    source[:4] = target[:4] = torch.tensor([0, 1, 1, 2])
    return torch.stack([source, target])


def coo(indices: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(indices, values, (NODES, NODES, *values.shape[1:]), check_invariants=True)


def adjacency(layout: torch.layout) -> Tensor:
    """[targets, sources], with a self-loop and without multi-edges, which a sparse matrix adds up."""
    source, target = edges().unique(dim=1)
    matrix = coo(torch.stack([target, source]), torch.ones(source.shape[0])).coalesce()
    return matrix if layout == torch.sparse_coo else matrix.to_sparse(layout=layout)


X, PAIR = draw(NODES, WIDTH), (draw(NODES, WIDTH), draw(TARGETS, TARGET_WIDTH, seed=1))
EDGES, ACROSS = edges(), edges(NODES, TARGETS)
EDGE_ATTR = draw(EDGES.shape[1], EDGE_DIM, seed=2)
UNCOALESCED = coo(EDGES.flip(0), torch.ones(EDGES.shape[1]))


@dataclass(frozen=True)
class Case:
    """A layer with options, called on arguments.

    Args:
        fused: whether the fused path must be taken, False where it must not.
    """

    layer: str
    name: str
    arguments: tuple[Any, ...] = (X, EDGES)
    options: dict[str, Any] = field(default_factory=dict)
    keywords: dict[str, Any] = field(default_factory=dict)
    fused: bool = True

    def __str__(self) -> str:
        return f"{self.layer}-{self.name}"

    def make(self, module: Any, dtype: torch.dtype) -> nn.Module:
        """The layer of `torch_geometric.nn` or of `graphattn.nn.conv`, every parameter moved off its initial value."""
        options = {"in_channels": WIDTH, "out_channels": OUT, "heads": HEADS, **self.options}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = getattr(module, self.layer)(**options).to(dtype)
            with torch.no_grad():
                for parameter in layer.parameters():
                    if not isinstance(parameter, nn.UninitializedParameter):
                        parameter += 0.2 * torch.randn_like(parameter)
        return layer


def of_each(name: str, *arguments: Any, layers: tuple[str, ...] = LAYERS, **more: Any) -> Iterator[Case]:
    for layer in layers:
        yield Case(layer, name, *arguments, **more)


def option_cases() -> Iterator[Case]:
    gats = LAYERS[:2]
    yield from of_each("default")
    yield from of_each("mean-of-heads", options={"concat": False})
    yield from of_each("one-head", options={"heads": 1})
    yield from of_each("no-bias", options={"bias": False})
    yield from of_each("many-options", (X, EDGES, EDGE_ATTR), options={"concat": False, "bias": False, "edge_dim": EDGE_DIM})
    yield from of_each("no-self-loops", layers=gats, options={"add_self_loops": False})
    yield from of_each("residual", layers=gats, options={"residual": True})
    yield from of_each("residual-mean", layers=gats, options={"residual": True, "concat": False, "bias": False})
    for slope in (0.0, 0.05, 1.0):
        yield from of_each(f"slope-{slope}", layers=gats, options={"negative_slope": slope})
    for name, options in {
        "share": {"share_weights": True},
        "share-mean": {"share_weights": True, "concat": False, "residual": True},
    }.items():
        yield Case("GATv2Conv", name, options=options)
    for name, options in {
        "beta": {"beta": True},
        "beta-mean": {"beta": True, "concat": False},
        "no-root": {"root_weight": False},
        "beta-without-root": {"beta": True, "root_weight": False},
        "beta-edges": {"beta": True, "edge_dim": EDGE_DIM},
    }.items():
        yield Case("TransformerConv", name, (X, EDGES, *([EDGE_ATTR] if "edge_dim" in options else [])), options)
    yield from of_each("flow", options={"flow": "target_to_source"})


def edge_feature_cases() -> Iterator[Case]:
    gats = LAYERS[:2]
    one = EDGE_ATTR[:, 0]
    yield from of_each("edges", (X, EDGES, EDGE_ATTR), options={"edge_dim": EDGE_DIM})
    yield from of_each("edges-flow", (X, EDGES, EDGE_ATTR), options={"edge_dim": EDGE_DIM, "flow": "target_to_source"})
    yield from of_each("one-edge-feature", (X, EDGES, one.unsqueeze(1)), options={"edge_dim": 1})
    yield from of_each("edge-feature-vector", (X, EDGES, one), layers=gats, options={"edge_dim": 1})
    options = {"edge_dim": EDGE_DIM, "add_self_loops": False}
    yield from of_each("edges-no-self-loops", (X, EDGES, EDGE_ATTR), layers=gats, options=options)
    fills: tuple[Any, ...] = ("add", "mean", "min", "max", "mul", 0.5, 2, torch.tensor([0.5, -1.0, 2.0]))
    for fill in fills:
        name = f"fill-{'tensor' if isinstance(fill, Tensor) else fill}"
        yield from of_each(name, (X, EDGES, EDGE_ATTR), layers=gats, options={"edge_dim": EDGE_DIM, "fill_value": fill})
    plain = EDGES[:, EDGES[0] != EDGES[1]]
    attr = EDGE_ATTR[: plain.shape[1]]
    yield from of_each("edges-without-loops", (X, plain, attr), layers=gats, options={"edge_dim": EDGE_DIM})
    yield Case("GATConv", "edge-dim-unused", options={"edge_dim": EDGE_DIM})
    yield Case("GATv2Conv", "edge-dim-unused", options={"edge_dim": EDGE_DIM})
    yield Case("GATConv", "edge-attr-unused", (X, EDGES, EDGE_ATTR))


def place_cases() -> Iterator[Case]:
    pair = {"in_channels": (WIDTH, TARGET_WIDTH)}
    gats = LAYERS[:2]
    yield from of_each("bipartite", (PAIR, ACROSS), options=pair)
    yield from of_each("bipartite-edges", (PAIR, ACROSS, EDGE_ATTR), options={**pair, "edge_dim": EDGE_DIM})
    flow = {**pair, "flow": "target_to_source"}
    yield from of_each("bipartite-flow", (PAIR, ACROSS.flip(0)), layers=gats, options=flow, fused=False)
    yield Case("TransformerConv", "bipartite-flow", (PAIR, ACROSS.flip(0)), flow)
    yield from of_each("bipartite-residual", (PAIR, ACROSS), layers=gats, options={**pair, "residual": True, "concat": False})
    yield from of_each("bipartite-no-loops", (PAIR, ACROSS), layers=gats, options={**pair, "add_self_loops": False})
    yield from of_each("pair-of-one-width", ((X, X[:TARGETS]), ACROSS))
    yield from of_each("pair-of-one-tensor", ((X, X), EDGES))
    yield from of_each("two-maps-of-one-tensor", (X, EDGES), options={"in_channels": (WIDTH, WIDTH)})
    no_loops = {"add_self_loops": False}
    size = {"size": (NODES, TARGETS)}
    yield Case("GATConv", "none", ((X, None), EDGES))
    yield Case("GATConv", "none-two-maps", ((X, None), EDGES), {"in_channels": (WIDTH, TARGET_WIDTH), "residual": True})
    yield Case("GATConv", "none-size", ((X, None), ACROSS), no_loops, size)
    yield Case("GATConv", "none-size-loops", ((X, None), ACROSS), keywords=size)
    yield Case("GATConv", "none-edges", ((X, None), EDGES, EDGE_ATTR), {"edge_dim": EDGE_DIM})
    yield Case("GATConv", "size", (PAIR, ACROSS), pair, size)
    yield Case("GATConv", "size-of-a-graph", keywords={"size": (NODES, NODES)})
    yield Case("GATv2Conv", "bipartite-share", ((X, X[:TARGETS]), ACROSS), {"share_weights": True})
    yield Case("TransformerConv", "bipartite-beta", (PAIR, ACROSS), {**pair, "beta": True, "concat": False})
    for layout in (torch.sparse_coo, torch.sparse_csr):
        name = str(layout).removeprefix("torch.sparse_")
        yield from of_each(name, (X, adjacency(layout)))
        yield from of_each(f"{name}-no-loops", (X, adjacency(layout)), layers=gats, options=no_loops)
        yield from of_each(f"{name}-edge-dim", (X, adjacency(layout)), layers=gats, options={"edge_dim": EDGE_DIM})
    yield from of_each("coo-with-multi-edges", (X, UNCOALESCED), layers=gats, fused=False)
    index = EdgeIndex(EDGES, sparse_size=(NODES, NODES))
    yield from of_each("EdgeIndex", (X, index))
    yield from of_each("EdgeIndex-by-column", (X, index.sort_by("col").values))
    yield from of_each("EdgeIndex-by-row", (X, index.sort_by("row").values.fill_cache_()))
    yield from of_each("EdgeIndex-flow", (X, index.sort_by("row").values), options={"flow": "target_to_source"})
    yield from of_each("EdgeIndex-edges", (X, index, EDGE_ATTR), options={"edge_dim": EDGE_DIM})
    yield from of_each("EdgeIndex-bipartite", (PAIR, EdgeIndex(ACROSS, sparse_size=(NODES, TARGETS))), options=pair)
    # torch_geometric's TransformerConv gives wrong gradients there.
    yield from of_each("int32", (X, EDGES.int()), layers=gats)
    none = EDGES[:, :0]
    yield from of_each("no-edges", (X, none))
    yield from of_each("no-edges-no-loops", (X, none), layers=gats, options=no_loops)
    yield from of_each("no-edges-with-features", (X, none, EDGE_ATTR[:0]), options={"edge_dim": EDGE_DIM})
    yield from of_each("no-edges-bipartite", (PAIR, none), options=pair)
    yield from of_each("no-nodes", (X[:0], none))
    yield from of_each("one-node", (X[:1], none))
    yield from of_each("strides", (draw(WIDTH, NODES).t(), EDGES.t().contiguous().t()))
    yield from of_each("keywords", (), keywords={"x": X, "edge_index": EDGES, "edge_attr": None})


def fallback_cases() -> Iterator[Case]:
    yield from of_each("aggr-mean", options={"aggr": "mean"}, fused=False)
    yield from of_each("aggr-max", options={"aggr": "max"}, fused=False)
    yield from of_each("weights", keywords={"return_attention_weights": True}, fused=False)
    yield from of_each(
        "weights-csr", (X, adjacency(torch.sparse_csr)), keywords={"return_attention_weights": True}, fused=False
    )
    options = {"edge_dim": EDGE_DIM}
    yield from of_each("weights-edges", (X, EDGES, EDGE_ATTR), options, {"return_attention_weights": True}, fused=False)
    for add_self_loops in (True, False):
        options = {"edge_dim": EDGE_DIM, "add_self_loops": add_self_loops}
        name = f"coo-of-features-loops-{add_self_loops}"
        yield from of_each(name, (X, coo(EDGES.flip(0), EDGE_ATTR).coalesce()), layers=LAYERS[:2], options=options, fused=False)
    yield Case("TransformerConv", "three-dimensions", (X.unsqueeze(0), EDGES), fused=False)


def refused_cases() -> Iterator[Case]:
    gats = LAYERS[:2]
    pair = {"in_channels": (WIDTH, TARGET_WIDTH)}
    yield from of_each("csc", (X, adjacency(torch.sparse_csc)))
    yield from of_each("csc-no-loops", (X, adjacency(torch.sparse_csc)), layers=gats, options={"add_self_loops": False})
    yield Case("TransformerConv", "coo-with-multi-edges", (X, UNCOALESCED))
    yield from of_each("sparse-flow", (X, adjacency(torch.sparse_csr)), options={"flow": "target_to_source"})
    yield from of_each("dense", (X, torch.ones(NODES, NODES)))
    yield from of_each("float-edges", (X, EDGES.double()))
    yield from of_each("three-rows", (X, torch.cat([EDGES, EDGES[:1]])))
    yield from of_each("edges-transposed", (X, EDGES.t()))
    yield from of_each("edges-a-list", (X, EDGES.tolist()))
    yield from of_each("too-large-an-index", (X[:-3], EDGES))
    yield from of_each("negative-index", (X, EDGES - 1))
    yield from of_each("three-dimensions", (X.unsqueeze(0), EDGES), layers=gats)
    yield from of_each("decomposed", options={"decomposed_layers": 2})
    yield from of_each("x-too-wide", (draw(NODES, WIDTH + 1), EDGES))
    yield from of_each("x-of-integers", (X.long(), EDGES))
    yield from of_each("adjacency-too-large", (X[:-1], adjacency(torch.sparse_coo)))
    yield from of_each("EdgeIndex-too-large", (X, EdgeIndex(EDGES, sparse_size=(NODES + 1, NODES + 1))))
    yield from of_each("features-too-few", (X, EDGES, EDGE_ATTR[:-1]), options={"edge_dim": EDGE_DIM})
    yield from of_each("features-too-wide", (X, EDGES, EDGE_ATTR), options={"edge_dim": EDGE_DIM + 1})
    yield from of_each("sparse-features", (X, adjacency(torch.sparse_csr), EDGE_ATTR), options={"edge_dim": EDGE_DIM})
    yield from of_each("fill", (X, EDGES, EDGE_ATTR), layers=gats, options={"edge_dim": EDGE_DIM, "fill_value": "median"})
    yield from of_each("none", ((X, None), EDGES), layers=LAYERS[1:])
    yield Case("GATConv", "wrong-size", (PAIR, ACROSS), pair, {"size": (NODES, TARGETS + 1)})
    yield Case("GATv2Conv", "features-without-edge-dim", (X, EDGES, EDGE_ATTR))
    yield Case("TransformerConv", "features-without-edge-dim", (X, EDGES, EDGE_ATTR))
    yield Case("TransformerConv", "edge-dim-without-features", options={"edge_dim": EDGE_DIM})


def cast(value: Any, dtype: torch.dtype, leaves: list[Tensor], device: str = "cpu") -> Any:
    """The arguments in a dtype on a device; floating-point tensors become leaves, the same tensor twice one leaf."""
    known: dict[int, Tensor] = {}

    def turn(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(turn(each) for each in part)
        if not isinstance(part, Tensor):
            return part
        if part.layout == torch.sparse_coo:
            return part.to(device, dtype).clone()  # a copy, because torch_geometric marks its argument as coalesced
        if part.layout != torch.strided or part.dtype != torch.float64:
            return part if device == "cpu" else part.to(device)
        if id(part) not in known:
            known[id(part)] = part.to(device, dtype).clone().requires_grad_()
            leaves.append(known[id(part)])
        return known[id(part)]

    return turn(value)


def flat(out: Any) -> list[Tensor]:
    """The tensors of what a layer returned; of a sparse matrix its indices and values."""
    if isinstance(out, tuple):
        return [tensor for part in out for tensor in flat(part)]
    if out.layout == torch.strided:
        return [out]
    return flat(torch_geometric.utils.to_edge_index(out))


def outcome(layer: nn.Module, case: Case, dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    """All that the layer returns, and the gradients of all inputs and parameters."""
    leaves: list[Tensor] = []
    arguments = cast(case.arguments, dtype, leaves, device)
    keywords = {name: cast(value, dtype, leaves, device) for name, value in case.keywords.items()}
    out = flat(layer(*arguments, **keywords))
    directions = [draw(*part.shape, seed=7).to(device, dtype) for part in out if part.requires_grad]
    wanted = {f"input {place}": leaf for place, leaf in enumerate(leaves)} | dict(layer.named_parameters())
    parts = [part for part in out if part.requires_grad]
    gradients = torch.autograd.grad(parts, list(wanted.values()), directions, allow_unused=True, materialize_grads=True)
    return {f"output {place}": part.detach() for place, part in enumerate(out)} | dict(zip(wanted, gradients, strict=True))


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        found = actual[name]
        assert found.shape == value.shape, name
        assert found.dtype == value.dtype, name
        if not value.is_floating_point():
            assert torch.equal(found, value), name
        elif value.numel():
            error, scale = float((found - value).abs().max()), float(value.abs().max())
            allowed = max(TOLERANCE[dtype] * scale, ROUNDING[dtype])
            assert error <= allowed, f"{name}: {error:.3g} apart, {allowed:.3g} allowed"


CASES = [*option_cases(), *edge_feature_cases(), *place_cases(), *fallback_cases()]
OPTIONS = [
    Case("GATConv", "plain"),
    Case("GATConv", "edges", (X, EDGES, EDGE_ATTR), {"edge_dim": EDGE_DIM, "residual": True}),
    Case("GATv2Conv", "plain"),
    Case("GATv2Conv", "edges", (X, EDGES, EDGE_ATTR), {"edge_dim": EDGE_DIM, "residual": True}),
    Case("TransformerConv", "plain"),
    Case("TransformerConv", "edges", (X, EDGES, EDGE_ATTR), {"edge_dim": EDGE_DIM, "beta": True}),
    Case("TransformerConv", "no-root", options={"root_weight": False, "concat": False}),
]
