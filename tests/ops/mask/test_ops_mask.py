"""Masks: how they are made, their order by hand, what is kept of them, and that they travel through pytrees and tracers."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils import _pytree as pytree
from torch_geometric import EdgeIndex

from graphattn.errors import InputError
from graphattn.nn import MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask, attention
from graphattn.ops.mask import adjacency as adjacency_module
from graphattn.ops.mask import block_diagonal as block_module
from graphattn.ops.recall import _made

EDGES = torch.tensor([[0, 0, 2, 2], [1, 1, 0, 2]])  # a multi-edge and a self-loop


def edges(mask: AdjacencyMask) -> list[tuple[int, int]]:
    return list(zip(mask.source.tolist(), mask.target.tolist(), strict=True))


def tensors_of(made: object) -> list[Tensor]:
    return [value for value in vars(made).values() if isinstance(value, Tensor)]


def test_edge_list() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 4)
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2)]
    assert (mask.num_sources, mask.num_targets, mask.num_edges) == (4, 4, 4)
    assert AdjacencyMask.from_edge_index(EDGES).num_targets == 3
    assert AdjacencyMask.from_edge_index(EDGES[:, :0]).num_targets == 0
    assert AdjacencyMask.from_edge_index(EDGES.int(), 3).source.dtype == torch.int64


def test_bipartite_edge_list() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[4, 0], [0, 1]]), (5, 2))
    assert (mask.num_sources, mask.num_targets) == (5, 2)


def test_edge_index_class() -> None:
    mask = AdjacencyMask.from_edge_index(EdgeIndex(EDGES, sparse_size=(3, 3)), 3)
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2)]
    assert type(mask.source) is Tensor


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_adjacency(layout: torch.layout) -> None:
    """A[target, source]: row 0 attends to 1 and 2, row 1 to 0."""
    dense = torch.tensor([[0.0, 1, 1], [1, 0, 0]])
    mask = AdjacencyMask.from_edge_index(dense.to_sparse(layout=layout))
    assert sorted(edges(mask)) == [(0, 1), (1, 0), (2, 0)]
    assert (mask.num_sources, mask.num_targets) == (3, 2)


def test_stored_zeros_are_edges() -> None:
    adjacency = torch.sparse_coo_tensor(torch.tensor([[0], [1]]), torch.zeros(1), (2, 2), check_invariants=True)
    assert edges(AdjacencyMask.from_edge_index(adjacency, 2)) == [(1, 0)]


def test_uncoalesced_matrix_keeps_its_multi_edges() -> None:
    index = torch.tensor([[1, 0, 1], [0, 2, 0]])
    adjacency = torch.sparse_coo_tensor(index, torch.ones(3), (3, 3), check_invariants=True)
    assert edges(AdjacencyMask.from_edge_index(adjacency)) == [(0, 1), (2, 0), (0, 1)]


def test_self_loops_come_last_also_where_there_is_one() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3).with_self_loops()
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2), (0, 0), (1, 1), (2, 2)]


def test_union_keeps_duplicates() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3)
    other = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3)
    assert edges(mask | other) == [*edges(mask), (0, 1), (1, 2)]
    assert mask.num_edges == 4


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_pairs_of_an_unsorted_batch(dtype: torch.dtype) -> None:
    """Graph 0 is node 1; graph 1 has no node; graph 2 is nodes 0 and 2."""
    mask = BlockDiagonalMask.from_batch(torch.tensor([2, 0, 2], dtype=dtype))
    assert mask.ptr.tolist() == [0, 1, 1, 3]
    assert mask.order is not None
    assert mask.order.tolist() == [1, 0, 2]
    assert mask.num_pairs == 5
    assert edges(mask.pairs()) == [(1, 1), (0, 0), (2, 0), (0, 2), (2, 2)]  # (source, target), row by row


def test_batch_in_order_keeps_no_order() -> None:
    mask = BlockDiagonalMask.from_batch(torch.tensor([0, 0, 1]), num_graphs=3)
    assert mask.order is None
    assert mask.ptr.tolist() == [0, 2, 3, 3]
    assert edges(mask.pairs()) == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2)]
    assert edges(BlockDiagonalMask.from_ptr(mask.ptr).pairs()) == edges(mask.pairs())
    assert BlockDiagonalMask.single(2).ptr.tolist() == [0, 2]
    assert BlockDiagonalMask.single(0).num_pairs == 0


@pytest.mark.parametrize(
    "mask",
    [
        AdjacencyMask.from_edge_index(EDGES, (5, 3)),
        BlockDiagonalMask.from_batch(torch.tensor([1, 0])),
        BlockDiagonalMask.from_batch(torch.tensor([0, 1])),
    ],
    ids=["adjacency", "unsorted", "sorted"],
)
def test_pytree_round_trip_and_devices(mask: AdjacencyMask | BlockDiagonalMask) -> None:
    leaves, spec = pytree.tree_flatten(mask)
    assert any(isinstance(leaf, Tensor) for leaf in leaves)
    for again in (pytree.tree_unflatten(leaves, spec), mask.to("cpu")):
        assert type(again) is type(mask)
        for name, value in vars(mask).items():
            other = getattr(again, name)
            assert torch.equal(value, other) if isinstance(value, Tensor) else value == other
    assert mask.to("meta").num_targets == mask.num_targets
    assert all(value.is_meta for value in tensors_of(mask.to("meta")))


def test_groups_by_hand() -> None:
    """Targets 0 ← 2; 1 ← 0, 0; 2 ← 2; 3 alone. Sources 0 → 1, 1; 2 → 0, 2."""
    mask = AdjacencyMask.from_edge_index(EDGES, 4)
    rows, columns = mask.by_target("cpu"), mask.by_source("cpu")
    assert (rows.pointers.tolist(), rows.neighbours.tolist(), rows.edges.tolist()) == (
        [0, 1, 3, 4, 4],
        [2, 0, 0, 2],
        [2, 0, 1, 3],
    )
    assert (columns.pointers.tolist(), columns.neighbours.tolist()) == ([0, 2, 2, 4, 4], [1, 1, 0, 2])
    assert columns.edges.tolist() == [0, 1, 2, 3]
    assert columns.pointers is not rows.pointers
    assert mask.by_target("cpu") is rows
    assert mask.by_source("cpu") is columns


def test_groups_of_a_bipartite_mask() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[4, 0, 4], [0, 1, 1]]), (5, 2))
    assert mask.by_target("cpu").pointers.tolist() == [0, 1, 3]
    assert mask.by_target("cpu").neighbours.tolist() == [4, 0, 4]
    assert mask.by_source("cpu").pointers.tolist() == [0, 1, 1, 1, 1, 3]
    assert mask.by_source("cpu").neighbours.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "symmetric", [[[0, 0, 1, 1, 2, 2], [1, 2, 0, 1, 0, 2]], [[2, 0, 1, 0, 1], [0, 2, 0, 1, 1]]], ids=["sorted", "in pairs"]
)
def test_symmetric_graphs_share(symmetric: list[list[int]]) -> None:
    edge_index = torch.tensor(symmetric)
    rows, columns = (mask := AdjacencyMask.from_edge_index(edge_index)).by_target("cpu"), mask.by_source("cpu")
    assert columns.pointers is rows.pointers
    assert columns.neighbours is rows.neighbours
    assert columns.items is rows.items
    # Slot by slot, the one edge is the other one the other way round.
    assert torch.equal(edge_index[:, columns.edges], edge_index[:, rows.edges].flip(0))
    assert columns.edges.tolist() != rows.edges.tolist()


def test_unchecked_indices_are_found_when_grouped() -> None:
    mask = AdjacencyMask(torch.tensor([0, 5]), torch.tensor([0, 1]), 2, 2)
    with pytest.raises(InputError, match=r"must lie in \[0, 2\), got values from 0 to 5"):
        _ = mask.by_target("cpu")


def test_groups_of_blocks() -> None:
    mask = BlockDiagonalMask.from_batch(torch.tensor([2, 0, 2]))
    assert mask.layout("cpu").pointers.tolist() == [0, 1, 3, 5]
    assert mask.layout("cpu").first_nodes.tolist() == [0, 1, 1]
    assert mask.layout("cpu") is mask.layout("cpu")


def test_what_is_derived_is_kept_on_the_mask_alone() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3)
    assert mask.with_self_loops() is mask.with_self_loops()
    _ = mask.by_source("cpu")
    derived = {"_by_target_cpu", "_by_source_cpu", "_with_self_loops"}
    assert derived <= vars(mask).keys()
    leaves, spec = pytree.tree_flatten(mask)
    assert len(leaves) == 5  # the fields that are not None
    for again in (mask.to("cpu"), pytree.tree_unflatten(leaves, spec)):
        assert derived.isdisjoint(vars(again))


def test_the_same_tensor_gives_the_same_mask() -> None:
    edge_index, batch = EDGES.clone(), torch.tensor([0, 0, 1])
    mask = AdjacencyMask.from_edge_index(edge_index, 4)
    assert AdjacencyMask.from_edge_index(edge_index, 4) is mask
    assert AdjacencyMask.from_edge_index(edge_index.clone(), 4) is not mask
    assert AdjacencyMask.from_edge_index(edge_index, 5).num_targets == 5
    assert AdjacencyMask.from_edge_index(edge_index).num_targets == 3
    assert AdjacencyMask.from_edge_index(edge_index, (4, 6)).num_targets == 6
    blocks = BlockDiagonalMask.from_batch(batch)
    assert BlockDiagonalMask.from_batch(batch) is blocks
    assert BlockDiagonalMask.from_batch(batch, 3).ptr.tolist() == [0, 2, 3, 3]


def test_a_changed_tensor_gives_a_new_mask() -> None:
    edge_index, batch = EDGES.clone(), torch.tensor([0, 0, 1])
    mask, blocks = AdjacencyMask.from_edge_index(edge_index, 4), BlockDiagonalMask.from_batch(batch)
    assert mask.by_target("cpu").neighbours.tolist() == [2, 0, 0, 2]
    edge_index[0, 0] = 3  # through a view
    batch += torch.tensor([0, 1, 0])
    changed = AdjacencyMask.from_edge_index(edge_index, 4)
    assert edges(changed) == [(3, 1), (0, 1), (2, 0), (2, 2)]
    assert changed.by_target("cpu").neighbours.tolist() == [2, 3, 0, 2]
    assert BlockDiagonalMask.from_batch(batch).ptr.tolist() == [0, 1, 3]
    assert BlockDiagonalMask.from_batch(batch) is not blocks
    edge_index[0, 0] = 9
    with pytest.raises(InputError, match=r"^edge_index\[0\] must lie in \[0, 4\), got values from 0 to 9$"):
        AdjacencyMask.from_edge_index(edge_index, 4)


def test_a_changed_edge_index_class_gives_a_new_mask() -> None:
    edge_index = EdgeIndex(EDGES.clone(), sparse_size=(3, 3))
    mask = AdjacencyMask.from_edge_index(edge_index, 3)
    assert AdjacencyMask.from_edge_index(edge_index, 3) is mask
    assert mask.by_target("cpu").neighbours.tolist() == [2, 0, 0, 2]
    edge_index[0, 0] = 1
    assert AdjacencyMask.from_edge_index(edge_index, 3).by_target("cpu").neighbours.tolist() == [2, 1, 0, 2]
    edge_index.as_tensor()[0, 0] = 2
    assert AdjacencyMask.from_edge_index(edge_index, 3).by_target("cpu").neighbours.tolist() == [2, 2, 0, 2]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("kind", ["tensor", "view", "EdgeIndex"])
def test_the_tensor_is_not_kept_alive(kind: str, dtype: torch.dtype) -> None:
    gc.collect()
    before = len(_made)
    edge_index = EDGES.to(dtype, copy=True)
    if kind != "tensor":
        edge_index = EdgeIndex(edge_index) if kind == "EdgeIndex" else edge_index.repeat(1, 2)[:, :4]
    mask = AdjacencyMask.from_edge_index(edge_index, 3)
    assert len(_made) == before + 1
    alive, of_mask = weakref.ref(edge_index), weakref.ref(mask)
    del edge_index
    gc.collect()
    assert alive() is None
    assert len(_made) == before
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2)]
    assert mask.by_target("cpu").edges.tolist() == [2, 0, 1, 3]
    del mask
    assert of_mask() is None


def test_a_batch_is_not_kept_alive() -> None:
    batch = torch.tensor([0, 1, 1])
    mask, alive = BlockDiagonalMask.from_batch(batch), weakref.ref(batch)
    del batch
    gc.collect()
    assert alive() is None
    assert mask.num_nodes == 3


def test_inference_mode() -> None:
    """Its own tensors have no version; masks of others, made meanwhile, must serve training later."""
    edge_index = EDGES.int()
    with torch.inference_mode():
        own = EDGES.clone()
        first = AdjacencyMask.from_edge_index(own, 3)
        assert AdjacencyMask.from_edge_index(own, 3) is not first
        mask = AdjacencyMask.from_edge_index(edge_index, 3)
        looped = mask.with_self_loops()
        made = [looped.source, looped.by_source("cpu").edges, mask.source, *tensors_of(mask.by_target("cpu"))]
    assert AdjacencyMask.from_edge_index(edge_index, 3) is mask
    assert not any(tensor.is_inference() for tensor in made)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (torch.sparse_coo, [(0, 0), (0, 1)]),
        (torch.sparse_csr, [(0, 0), (0, 1)]),
        (torch.sparse_csc, [(0, 0), (1, 0)]),
    ],
)
def test_a_sparse_matrix_is_remembered_until_it_changes(layout: torch.layout, expected: list[tuple[int, int]]) -> None:
    adjacency = torch.tensor([[0.0, 1], [1, 0]]).to_sparse(layout=layout)
    mask = AdjacencyMask.from_edge_index(adjacency)
    assert sorted(edges(mask)) == [(0, 1), (1, 0)]
    assert AdjacencyMask.from_edge_index(adjacency) is mask
    if layout == torch.sparse_coo:
        adjacency.indices()[1, 0] = 0
    else:
        (adjacency.col_indices() if layout == torch.sparse_csr else adjacency.row_indices())[0] = 0
    assert sorted(edges(AdjacencyMask.from_edge_index(adjacency))) == expected
    alive = weakref.ref(adjacency)
    del adjacency
    gc.collect()
    assert alive() is None


def test_self_loops_renewed() -> None:
    """The loop at 2 is taken out, and one a node put at the end; nothing stays behind but what `stay` names."""
    mask, stay = AdjacencyMask.from_edge_index(EDGES, 4).with_self_loops_renewed()
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (0, 0), (1, 1), (2, 2), (3, 3)]
    assert stay is not None
    assert stay.tolist() == [0, 1, 2]
    assert mask.with_self_loops_renewed()[0] is mask.with_self_loops_renewed()[0]
    bipartite, stay = AdjacencyMask.from_edge_index(torch.tensor([[4, 0], [0, 1]]), (5, 2)).with_self_loops_renewed()
    assert edges(bipartite) == [(4, 0), (0, 1), (0, 0), (1, 1)]
    assert stay is None


@pytest.mark.parametrize("kind", ["adjacency", "typed", "block"])
def test_a_prepared_mask_is_looked_at_no_more(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A later training step groups nothing and reads no number off a tensor, which would wait for a GPU."""
    tensors = torch.randn(3, 4, 2, 5, requires_grad=True)
    mask: AdjacencyMask | BlockDiagonalMask = AdjacencyMask.from_edge_index(EDGES.clone(), 4)
    layer: nn.Module | None = None
    if kind == "typed":
        layer = MaskedSelfAttention(4, 4, 2, edge_types=2)
        mask = mask | AdjacencyMask.from_edge_index(EDGES.flip(0), 4)
    elif kind == "block":
        mask = BlockDiagonalMask.from_batch(torch.tensor([1, 0, 1, 1]))
    bias = torch.randn(1 + 3 * 3 if kind == "block" else mask.num_edges, 2, requires_grad=True)
    assert mask.prepare() is mask
    known = set(vars(mask))
    for module in (adjacency_module, block_module):
        monkeypatch.setattr(module, "group_edges" if module is adjacency_module else "group_blocks", never)
    monkeypatch.setattr(Tensor, "__int__", never)
    monkeypatch.setattr(Tensor, "item", never)
    monkeypatch.setattr(torch, "equal", never)
    out = attention(*tensors, mask, bias=bias) if layer is None else layer(torch.randn(4, 4), mask)
    assert isinstance(out, Tensor)
    out.sum().backward()
    assert set(vars(mask)) == known


def never(*_: object, **__: object) -> None:
    pytest.fail("the mask was prepared")


def test_reversed() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[4, 0], [0, 1]]), (5, 2))
    other = mask.reversed()
    assert edges(other) == [(0, 4), (1, 0)]
    assert (other.num_sources, other.num_targets) == (2, 5)
    assert mask.reversed() is other


def test_threads_may_ask_at_once() -> None:
    def ask(index: int) -> list[int]:
        tensor = shared if index % 2 else EDGES.clone()
        mask = AdjacencyMask.from_edge_index(tensor, 4)
        return [*mask.by_target("cpu").neighbours.tolist(), *mask.by_source("cpu").neighbours.tolist()]

    shared = EDGES.clone()
    with ThreadPoolExecutor(4) as pool:
        assert all(found == [2, 0, 0, 2, 1, 1, 0, 2] for found in pool.map(ask, range(200)))


class Groups(nn.Module):
    """What kernels take, made from tensors."""

    def forward(self, edge_index: Tensor, batch: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        mask = AdjacencyMask.from_edge_index(edge_index, x.shape[0]).with_self_loops()
        assert mask.by_target("cpu") is mask.by_target("cpu")
        groups = (mask.by_target("cpu"), mask.by_source("cpu"), BlockDiagonalMask.from_batch(batch, 2).layout("cpu"))
        return *(tensor for group in groups for tensor in tensors_of(group)), x[mask.by_target("cpu").neighbours].sum(0)


def groups_input(num_nodes: int, num_edges: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_edges)
    edge_index = torch.randint(0, num_nodes, (2, num_edges), generator=generator)
    return edge_index, torch.arange(num_nodes) % 2, torch.arange(num_nodes * 2.0).view(-1, 2)


def assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_compile() -> None:
    compiled = torch.compile(Groups(), fullgraph=True, dynamic=True, backend="aot_eager")
    gc.collect()
    before = len(_made)
    for sizes in ((4, 6), (9, 20), (5, 0)):
        tensors = groups_input(*sizes)
        found = compiled(*tensors)
        assert len(_made) == before
        assert_same(found, Groups()(*tensors))
        del tensors
    with pytest.raises(InputError, match=r"must lie in \[0, 4\), got values from"):
        compiled(groups_input(4, 6)[0] + 2, *groups_input(4, 6)[1:])


def test_compile_with_a_mask_as_input() -> None:
    """Groups made inside are kept on the mask as outside, and those that are there are used."""

    def function(mask: AdjacencyMask) -> tuple[Tensor, ...]:
        return tuple(tensors_of(mask.by_target("cpu")))

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for sizes in ((4, 6), (9, 20)):
        mask = AdjacencyMask.from_edge_index(groups_input(*sizes)[0], sizes[0])
        first = compiled(mask)
        assert mask.by_target("cpu").pointers is first[0]
        assert_same(compiled(mask), first)
        assert_same(first, function(AdjacencyMask(mask.source, mask.target, sizes[0], sizes[0])))


def test_export() -> None:
    nodes = Dim("nodes")
    shapes = {"edge_index": {1: Dim("edges")}, "batch": {0: nodes}, "x": {0: nodes}}
    exported = torch.export.export(Groups(), groups_input(4, 6), dynamic_shapes=shapes).module()
    for sizes in ((4, 6), (9, 20)):
        assert_same(exported(*groups_input(*sizes)), Groups()(*groups_input(*sizes)))


def test_a_graph_number_that_would_take_all_memory() -> None:
    with pytest.raises(InputError) as error:
        BlockDiagonalMask.from_batch(torch.tensor([0, 2**31]))
    assert str(error.value) == (
        "batch must number at most 16,777,216 graphs more than its 2 nodes, as each graph takes memory, empty or not; "
        "got 2,147,483,649 graphs"
    )
    with pytest.raises(InputError, match="got 16,777,219 graphs"):
        BlockDiagonalMask.from_batch(torch.tensor([0, 1]), num_graphs=2**24 + 3)
    assert BlockDiagonalMask.from_batch(torch.tensor([0, 1000])).num_graphs == 1001
