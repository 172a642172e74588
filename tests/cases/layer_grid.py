"""The layers and models that the laws are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn

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
from graphattn.ops import NORMALISERS

from .forms import ALL_FORMS, COVERING_CASES
from .layers import BIASES, EDGE_DIM, ENCODINGS, WIDTH, LayerCase, LayerInputs
from .op import OpCase


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
        "attention": {"readout": "max+std+attention", "attention": "full", "encodings": ENCODINGS},
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
            partial(GraphTransformer, WIDTH, WIDTH, 3, **{"num_layers": 2, "heads": 2, **options}),
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


def types(case: OpCase | LayerCase) -> list[torch.dtype]:
    """The types to draw from for a form of the op, or for a layer."""
    few = COVERING_CASES if isinstance(case, OpCase) else [*COVERING_LAYER_CASES, *DROPIN_CASES]
    return [torch.float64, torch.float32] if case in few else [torch.float64]
