"""Biases on pairs: by hand, alone and batched, compiled, exported, and in full attention."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator

import pytest
import torch
from cases.settings import fresh_compiler
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from graphattn.errors import InputError
from graphattn.nn import FullSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure import STRUCTURE, DistanceBias, EdgeBias, RelativeWalkBias, ResistanceBias, precompute

BIASES = STRUCTURE["biases"]
HEADS, EDGE_DIM = 2, 3
COLUMNS = {"distance": 4, "relative_walk": 5, "resistance": 2, "edge": EDGE_DIM}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return BIASES[name](COLUMNS[name], HEADS)


def batch_of(*sizes: int) -> Batch:
    """Random graphs, directed, with multi-edges and self-loops."""
    number = torch.Generator().manual_seed(sum(sizes))
    some = []
    for size in sizes:
        edge_index = torch.randint(0, max(size, 1), (2, 2 * size), generator=number)
        edge_attr = torch.randn(2 * size, EDGE_DIM, generator=number)
        some.append(Data(edge_index=edge_index, edge_attr=edge_attr, num_nodes=size))
    transforms = [kind.transform(COLUMNS[name]) for name, kind in BIASES.items() if kind.computed_by is not None]
    return Batch.from_data_list(precompute(some, transforms, cache=None))


def inputs(module: nn.Module, batch: Batch) -> list[Tensor]:
    return [batch[name] for name in module.reads]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    with fresh_compiler():
        yield


@pytest.mark.parametrize("name", BIASES)
def test_one_row_a_pair_and_gradients_everywhere(name: str) -> None:
    module, batch = make(name), batch_of(4, 1, 6)
    bias = module(*inputs(module, batch))
    assert bias.shape == (16 + 1 + 36, HEADS)
    assert len(inspect.signature(module.forward).parameters) == len(module.reads)
    (bias * torch.randn_like(bias)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())
    # Small at first, but not zero: models with and without the bias differ from the start.
    assert 0 < float(bias.detach().abs().max()) < 0.5


@pytest.mark.parametrize("name", BIASES)
def test_alone_or_batched(name: str) -> None:
    module, batch = make(name), batch_of(4, 1, 6)
    alone = []
    for one in batch.to_data_list():
        one.batch = torch.zeros(one.num_nodes, dtype=torch.long)
        alone.append(module(*inputs(module, one)))
    torch.testing.assert_close(module(*inputs(module, batch)), torch.cat(alone))


@pytest.mark.parametrize("name", BIASES)
def test_nothing_at_all(name: str) -> None:
    module = make(name)
    bias = module(*inputs(module, batch_of(0)))
    assert bias.shape == (0, HEADS)
    bias.sum().backward()
    assert all(not bool(parameter.grad.any()) for parameter in module.parameters())


@pytest.mark.parametrize("name", BIASES)
def test_autocast(name: str) -> None:
    module, batch = make(name), batch_of(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bias = module(*inputs(module, batch))
    assert bias.dtype == torch.bfloat16
    torch.testing.assert_close(bias.float(), module(*inputs(module, batch)), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", BIASES)
def test_same_bits_twice(name: str) -> None:
    module, batch = make(name), batch_of(9, 7)
    weight, grads = torch.randn(81 + 49, HEADS), []
    for _ in range(2):
        module.zero_grad()
        (module(*inputs(module, batch)) * weight).sum().backward()
        grads.append([parameter.grad for parameter in module.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*grads, strict=True))


class Biased(nn.Module):
    """All biases, added up, in full attention."""

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.ModuleDict({name: make(name) for name in BIASES})
        self.layer = FullSelfAttention(4, 4, HEADS)

    def forward(self, x: Tensor, data: dict[str, Tensor]) -> Tensor:
        pair_bias = torch.stack([bias(*(data[name] for name in bias.reads)) for bias in self.biases.values()]).sum(0)
        return self.layer(x, data["batch"], pair_bias=pair_bias)


def arguments(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    names = {name for bias in BIASES.values() for name in bias.reads}
    return torch.ones(batch.num_nodes, 4).cumsum(0) / 9, {name: batch[name] for name in sorted(names)}


def test_compile_and_export() -> None:
    module = Biased()
    function = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    dynamic = torch.export.Dim.DYNAMIC
    x, data = arguments(batch_of(4, 3))
    shapes = {"x": {0: dynamic}, "data": {name: {int(name == "edge_index"): dynamic} for name in data}}
    exported = torch.export.export(module, (x, data), dynamic_shapes=shapes).module()
    for sizes in ((4, 3), (5, 1, 7), (6, 6)):
        given = arguments(batch_of(*sizes))
        torch.testing.assert_close(function(*given), module(*given))
        torch.testing.assert_close(exported(*given), module(*given))


def test_distance_reads_its_table() -> None:
    module = DistanceBias(1, 2)
    assert module.table.shape == (4, 2)
    assert torch.equal(module(torch.tensor([3, 0, 1], dtype=torch.uint8)), module.table[[3, 0, 1]])


def test_distance_beyond_the_table() -> None:
    with pytest.raises(InputError, match=r"buckets in \[0, 7\), got 9: the transform must be AddDistance\(longest=4\)"):
        DistanceBias(4, 2)(torch.tensor([0, 9], dtype=torch.uint8))


def test_distance_gradient_is_summed_in_full_precision() -> None:
    """Under bfloat16 a count of ones ends at 256."""
    module = DistanceBias(1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(torch.ones(1000, dtype=torch.uint8)).sum().backward()
    assert module.table.grad.flatten().tolist() == [0, 1000, 0, 0]


def test_edge_bias_by_hand() -> None:
    """Unsorted graphs {1, 3} and {0, 2}: the edge 0 → 2 twice, 3 → 1 once, and a loop at 3. Rows are targets."""
    module = EdgeBias(1, 1)
    nn.init.ones_(module.lin_edge.weight)
    edge_index, batch = torch.tensor([[0, 3, 0, 3], [2, 1, 2, 3]]), torch.tensor([1, 0, 1, 0])
    edge_attr = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    expected = [0, 2, 0, 8, 0, 0, 5, 0]
    assert module(edge_attr, edge_index, batch).flatten().tolist() == expected
    assert module(edge_attr, edge_index.t().contiguous().t(), batch).flatten().tolist() == expected
    prepared = AdjacencyMask.from_edge_index(edge_index, 4), BlockDiagonalMask.from_batch(batch)
    assert module(edge_attr, *prepared).flatten().tolist() == expected


def test_edge_bias_bad_input() -> None:
    module, batch = EdgeBias(2, 1), torch.tensor([0, 0, 1])
    with pytest.raises(InputError, match=r"edge_attr must have shape \[1, 2\], got \[1, 3\]"):
        module(torch.zeros(1, 3), torch.tensor([[0], [1]]), batch)
    with pytest.raises(InputError, match="same graph"):
        module(torch.zeros(1, 2), torch.tensor([[0], [2]]), batch)


def test_walks_and_resistance_tell_pairs_apart() -> None:
    walks = torch.eye(3)
    assert RelativeWalkBias(3, 2)(walks).unique(dim=0).shape[0] == 3
    no_path, itself, far = [0.0, 0.0], [0.0, 1.0], [1e30, 1.0]
    module = ResistanceBias(2, 2)
    bias = module(torch.tensor([no_path, itself, far]))
    torch.testing.assert_close(bias, module.embed(torch.tensor([[0, 0], [0, 1], [math.log(1e30), 1]])))
    assert bias.isfinite().all()
    assert bias.unique(dim=0).shape[0] == 3
