"""The laws of the op on a GPU: the same forms, in every type, held against the plain version in float64 on the CPU.

Without a GPU a few forms take the same way through Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases.compare import assert_all_close, assert_close, gradients, same_bits
from cases.forms import COVERING_CASES, OP_CASES
from cases.graphs import Graphs
from cases.op import CHANNELS, HEADS, OpCase
from torch import Tensor

from graphattn.ops import AdjacencyMask, Mask
from graphattn.ops.triton import schedule

FUSED = [case for case in OP_CASES if case.fused]
COVERING = [case for case in COVERING_CASES if case.fused]
# Which numbers are stored in half precision has nothing to do with the normaliser.
HALF = [case for case in COVERING if case.normaliser == "softmax"]
INTERPRETED = [
    OpCase("adjacency", "dot", "softmax", bias=True, edge_attr=True),
    OpCase("adjacency", "additive", "softmax", bias=True, edge_attr=True),
    OpCase("adjacency", "static", "sigmoid", bias=False, edge_attr=False),
    OpCase("block", "dot", "softmax", bias=True, edge_attr=False),
]
NAMES = ("query", "key", "value")


def draw_graphs() -> Graphs:
    """Four graphs in mixed order, one of a node and one empty: random edges, some twice, self-loops, and a hub both ways."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([12, 1, 0, 6])
    first = sizes.cumsum(0) - sizes
    inside = [torch.randint(first[graph], first[graph] + sizes[graph] - 1, (2, 30), generator=generator) for graph in (0, 3)]
    everyone = torch.arange(12)
    hub = torch.stack([everyone, torch.zeros_like(everyone)])
    edges = torch.cat([*inside, hub, hub.flip(0), hub], 1)
    ordered = Graphs(torch.arange(4).repeat_interleave(sizes), edges, 4)
    nodes, order = (torch.randperm(count, generator=generator) for count in (ordered.num_nodes, ordered.num_edges))
    return ordered.permuted(nodes, order)


GRAPHS = draw_graphs()


def places(cases: Sequence[OpCase], interpreted: Sequence[OpCase] = ()) -> list[Any]:
    """Forms on a GPU, and some of them in the interpreter."""
    on_gpu = [pytest.param(case, "cuda", marks=pytest.mark.cuda, id=f"cuda-{case}") for case in cases]
    return on_gpu + [pytest.param(case, "cpu", id=f"interpreter-{case}") for case in interpreted]


@contextmanager
def kernels(case: OpCase, device: str, part: int = 8) -> Iterator[None]:
    """Runs a fused form through the Triton kernels or not at all; rows of more than `part` edges are cut into parts."""
    if device == "cpu":
        pytest.importorskip("triton")
        if torch.cuda.is_available():
            pytest.skip("on this machine the kernels are compiled")
    with pytest.MonkeyPatch.context() as patch, replace(case, backend="triton").kernels():
        patch.setattr(schedule, "PART", part)
        yield


def put(tensors: dict[str, Tensor], device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.detach().to(device, dtype).requires_grad_() for name, tensor in tensors.items()}


def check(case: OpCase, device: str, dtype: torch.dtype, mask: Mask, tensors: dict[str, Tensor], **options: Any) -> None:
    given = put(tensors, device, dtype)
    expected = case.expected(mask, given, **options)
    with kernels(case, device):
        found = case.step(mask.to(device), given, **options)
    assert all(tensor.device.type == device and tensor.dtype == dtype for tensor in found)
    assert_all_close(found, expected)


def check_on_graphs(case: OpCase, device: str, dtype: torch.dtype, **options: Any) -> None:
    check(case, device, dtype, GRAPHS.mask(case.mask), case.of(GRAPHS), **options)


@pytest.mark.parametrize(("case", "device"), places(OP_CASES))
def test_float64(case: OpCase, device: str) -> None:
    check_on_graphs(case, device, torch.float64)


@pytest.mark.parametrize(("case", "device"), places(OP_CASES, INTERPRETED))
def test_float32(case: OpCase, device: str) -> None:
    check_on_graphs(case, device, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize(("case", "device"), places(HALF, INTERPRETED[:1]))
def test_half_precision(case: OpCase, device: str, dtype: torch.dtype) -> None:
    check_on_graphs(case, device, dtype)


@pytest.mark.parametrize(("case", "device"), places(COVERING, INTERPRETED[1:3]))
def test_dropout(case: OpCase, device: str) -> None:
    """The GPU draws the weights that the CPU draws."""
    check_on_graphs(case, device, torch.float32, dropout=0.5, seed=11)


@pytest.mark.parametrize(("case", "device"), places([case for case in COVERING if case.mask == "adjacency"], INTERPRETED[:1]))
def test_rectangular_masks(case: OpCase, device: str) -> None:
    sources, targets = 9, 14
    generator = torch.Generator().manual_seed(2)
    edge_index = torch.stack([torch.randint(count - 1, (70,), generator=generator) for count in (sources, targets)])
    mask = AdjacencyMask.from_edge_index(edge_index, (sources, targets))
    check(case, device, torch.float32, mask, case.tensors(mask.num_edges, sources, targets))


@pytest.mark.parametrize("layout", ["packed", "shared"])
@pytest.mark.parametrize(("case", "device"), places(HALF, INTERPRETED[:2]))
def test_tables_that_are_one(case: OpCase, device: str, layout: str) -> None:
    """Query, key and value packed in one table, or one table as key and value, give what three tables give."""
    tensors, mask = put(case.of(GRAPHS, shape=(HEADS, CHANNELS, CHANNELS)), device, torch.float32), GRAPHS.mask(case.mask)
    if layout == "shared":
        tensors["value"] = tensors["key"].detach().clone().requires_grad_()
    expected = dict(zip(["out", *tensors], case.expected(mask, tensors), strict=True))
    with kernels(case, device):
        if layout == "packed":
            leaf = torch.stack([tensors[name] for name in NAMES], 1).detach().requires_grad_()
            given = {**tensors, "query": leaf, "key": None, "value": None}
            wanted = torch.stack([expected[name] for name in NAMES], 1)
        else:
            leaf = tensors["key"]
            given = {**tensors, "value": leaf}
            wanted = expected["key"] + expected["value"]
        out = case(mask.to(device), given)
        of_leaf, *of_others = gradients(out, [leaf, *(tensors[name] for name in tensors if name not in NAMES)])
    assert_close(out, expected["out"])
    assert_close(of_leaf, wanted)
    for name, actual in zip([name for name in tensors if name not in NAMES], of_others, strict=True):
        assert_close(actual, expected[name])


@pytest.mark.usefixtures("poisoned")
@pytest.mark.filterwarnings("ignore:.*eterministic:UserWarning")
@pytest.mark.parametrize(("case", "device"), places(FUSED, INTERPRETED[:1]))
def test_nothing_is_read_before_it_is_written(case: OpCase, device: str) -> None:
    assert torch.empty(3, device=device).isnan().all()
    check_on_graphs(case, device, torch.float32)


@pytest.mark.parametrize(("case", "device"), places(COVERING, INTERPRETED[:1]))
def test_twice_is_the_same(case: OpCase, device: str) -> None:
    given = put(case.of(GRAPHS), device, torch.float32)
    with kernels(case, device):
        runs = [case.step(GRAPHS.mask(case.mask).to(device), given, dropout=0.2, seed=3) for _ in range(2)]
    assert same_bits(*runs)


@pytest.mark.parametrize(("case", "device"), places(COVERING, INTERPRETED[2:]))
def test_nothing_to_attend_to_gives_zero(case: OpCase, device: str) -> None:
    made = Graphs(torch.zeros(3, dtype=torch.int64), torch.tensor([[0], [0]]), 1)
    if case.mask == "block":
        made = Graphs(torch.zeros(0, dtype=torch.int64), made.edge_index[:, :0], 2)
    given = put(case.of(made), device, torch.float32)
    with kernels(case, device):
        out, *of_inputs = case.step(made.mask(case.mask).to(device), given)
    assert out.shape[0] == made.num_nodes
    assert not out[1:].any()
    assert all(gradient.isfinite().all() for gradient in of_inputs)
