"""The laws of the op once more, through the Triton kernels: in Triton's interpreter where there is no GPU.

The interpreter takes a good part of a second for a call, so the graphs are drawn once, by hand: empty, of one node, with hubs,
self-loops, multi-edges and nodes without edges, in no order.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import test_law_3_fused_equals_reference as law_3
import torch
from cases.compare import assert_all_close, assert_close, gradients, same_bits
from cases.forms import ALL_OP_CASES, COVERING_CASES
from cases.graphs import Graphs
from cases.op import HEADS, VALUE_CHANNELS, OpCase
from cases.settings import fresh_compiler
from test_law_5_nothing_to_attend_to import EMPTY
from test_law_8_compiles_clean import LARGE, SMALL, compiled
from torch import Tensor

from graphattn.ops import AdjacencyMask, Mask
from graphattn.ops.triton import schedule

pytest.importorskip("triton")
if torch.cuda.is_available():
    pytest.skip("on this machine the kernels are compiled: see test_laws_cuda.py", allow_module_level=True)

# A loop of the kernels turns as often as the longest row has edges; the hubs have as many as make three parts.
EDGES = [(0, 1), (1, 0), (2, 0), (3, 0), (0, 0), (0, 0), (5, 6), (6, 5), (7, 5), (5, 5), (8, 5), (8, 5)]
IN_ORDER = Graphs(torch.tensor([0] * 4 + [1] + [3] * 5), torch.tensor(EDGES).t(), 4)
GRAPHS = IN_ORDER.permuted(torch.arange(10) * 3 % 10, torch.arange(len(EDGES)) * 7 % len(EDGES))
RECTANGLE = AdjacencyMask.from_edge_index(torch.tensor([[0, 3, 3, 1, 2, 0], [1, 1, 1, 1, 4, 4]]), (4, 6))


def on_triton(cases: list[OpCase]) -> list[OpCase]:
    return [replace(case, backend="triton") for case in cases if case.fused]


COVERING = on_triton(COVERING_CASES)


@pytest.fixture(params=[schedule.PART, 2], ids=["whole", "cut"])
def part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows whole, as they are in graphs so small, and rows cut into parts."""
    monkeypatch.setattr(schedule, "PART", request.param)
    return request.param


def run(case: OpCase, mask: Mask, tensors: dict[str, Tensor], **options: object) -> list[Tensor]:
    """Output and all gradients."""
    with case.kernels():
        return case.step(mask, tensors, **options)


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_1_alone_or_batched(case: OpCase) -> None:
    tensors = {name: tensor.detach() for name, tensor in case.of(GRAPHS).items()}
    (together,) = run(case, GRAPHS.mask(case.mask), tensors)
    sizes = GRAPHS.batch.bincount(minlength=GRAPHS.num_graphs).square()
    for graph in range(GRAPHS.num_graphs):
        alone, nodes, edges = GRAPHS.only(graph)
        on_pairs = edges if case.mask == "adjacency" else torch.arange(int(sizes[graph])) + int(sizes[:graph].sum())
        own = {name: tensor[nodes] if name in ("query", "key", "value") else tensor for name, tensor in tensors.items()}
        own.update({name: tensors[name][on_pairs] for name in ("bias", "attr") if name in tensors})
        assert_close(run(case, alone.mask(case.mask), own)[0], together[nodes])


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_2_order_does_not_matter(case: OpCase) -> None:
    """Of nodes and edges; the pairs of a block have no other order than that of the nodes."""
    nodes, edges = torch.arange(10) * 7 % 10, torch.arange(len(EDGES)).flip(0)
    other = GRAPHS.permuted(nodes, edges)
    tensors = {name: tensor.detach() for name, tensor in case.of(GRAPHS).items()}
    on_pairs = edges
    if case.mask == "block":
        place = {pair: row for row, pair in enumerate(GRAPHS.pairs("block"))}
        on_pairs = torch.tensor([place[int(nodes[j]), int(nodes[i])] for j, i in other.pairs("block")])
    moved = {name: tensor[nodes] if name in ("query", "key", "value") else tensor for name, tensor in tensors.items()}
    moved.update({name: tensors[name][on_pairs] for name in ("bias", "attr") if name in tensors})
    expected = run(case, GRAPHS.mask(case.mask), tensors)[0][nodes]
    assert_close(run(case, other.mask(case.mask), moved)[0], expected)


@pytest.mark.parametrize("case", on_triton(ALL_OP_CASES), ids=str)
def test_law_3_float64(case: OpCase, part: int) -> None:
    law_3.check(case, GRAPHS.mask(case.mask), GRAPHS.pairs(case.mask), case.of(GRAPHS, 1), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_3_other_types(case: OpCase, dtype: torch.dtype) -> None:
    law_3.check(case, GRAPHS.mask(case.mask), GRAPHS.pairs(case.mask), case.of(GRAPHS, 2), dtype)


@pytest.mark.parametrize("case", [case for case in COVERING if case.mask == "adjacency"], ids=str)
def test_law_3_rectangular_masks(case: OpCase, part: int) -> None:
    pairs = list(zip(RECTANGLE.source.tolist(), RECTANGLE.target.tolist(), strict=True))
    mask = replace(RECTANGLE)  # whose parts are to be cut anew
    law_3.check(case, mask, pairs, case.tensors(len(pairs), 4, 6), torch.float64)


@pytest.mark.parametrize("layout", ["packed", "shared"])
@pytest.mark.parametrize("case", on_triton(law_3.LAYOUT_CASES), ids=str)
def test_law_3_tables_that_are_one(case: OpCase, layout: str) -> None:
    law_3.test_tables_that_are_one.hypothesis.inner_test(case=case, layout=layout, made=GRAPHS, seed=3, item=1)


@pytest.mark.parametrize("case", [case for case in COVERING if case.bias], ids=str)
def test_law_3_scores_of_ten_thousand(case: OpCase) -> None:
    law_3.test_scores_of_ten_thousand.hypothesis.inner_test(case=case, made=GRAPHS, seed=4)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_3_nothing_is_read_before_it_is_written(case: OpCase, part: int) -> None:
    law_3.test_nothing_is_read_before_it_is_written(case)


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_3_dropout(case: OpCase) -> None:
    law_3.test_dropout(case)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_4_twice_is_the_same(case: OpCase, dropout: float) -> None:
    tensors, mask = case.of(GRAPHS), GRAPHS.mask(case.mask)
    tensors = {name: tensor.detach().float().requires_grad_() for name, tensor in tensors.items()}
    first, again = (run(case, mask, tensors, dropout=dropout, seed=5) for _ in range(2))
    assert same_bits(first, again)


@pytest.mark.parametrize("case", [case for case in COVERING if case.mask == "adjacency"], ids=str)
def test_law_5_empty_rows_are_zero(case: OpCase) -> None:
    empty = torch.tensor([True, False, True, True, False, True])
    out, of_query, *others = run(case, RECTANGLE, case.tensors(6, 4, 6))
    assert not out[empty].any()
    assert not of_query[empty].any()
    assert all(tensor.isfinite().all() for tensor in (out, of_query, *others))


@pytest.mark.parametrize("made", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("case", COVERING[::5], ids=str)
def test_law_5_empty_graphs(case: OpCase, made: Graphs) -> None:
    out, *others = run(case, made.mask(case.mask), case.of(made))
    assert out.shape == (made.num_nodes, HEADS, VALUE_CHANNELS)
    assert all(tensor.isfinite().all() for tensor in (out, *others))


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_law_7_inputs_are_not_changed(case: OpCase) -> None:
    tensors, mask = case.of(GRAPHS), GRAPHS.mask(case.mask)
    everything = [*tensors.values(), *(value for value in vars(mask).values() if isinstance(value, Tensor))]
    before = [tensor.detach().clone() for tensor in everything]
    run(case, mask, tensors, dropout=0.5, seed=1)
    assert same_bits([tensor.detach() for tensor in everything], before)


@pytest.mark.parametrize("case", [case for case in COVERING if case.mask == "adjacency"], ids=str)
def test_law_7_an_edge_stored_twice_counts_twice(case: OpCase) -> None:
    twice = AdjacencyMask(*(torch.cat([row, row]) for row in GRAPHS.edge_index), GRAPHS.num_nodes, GRAPHS.num_nodes)
    tensors = {name: tensor.detach() for name, tensor in case.of(GRAPHS).items()}
    doubled = {name: torch.cat([t, t]) if name in ("bias", "attr") else t for name, t in tensors.items()}
    expected, _ = case(twice, doubled, return_attention=True)
    assert_close(run(case, replace(twice), doubled)[0], expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("case", on_triton(law_3.LAYOUT_CASES), ids=str)
def test_law_8_compiles_clean(case: OpCase, dropout: float) -> None:
    function = compiled(lambda mask, tensors: case(mask, tensors, dropout=dropout, seed=torch.tensor(3)))
    with case.kernels(), fresh_compiler():
        for made in (SMALL, LARGE):
            tensors = case.of(made)
            out, (expected, *of_inputs) = function(made.mask(case.mask), tensors), run(
                case, made.mask(case.mask), tensors, dropout=dropout, seed=3
            )  # fmt: skip
            assert_close(out, expected)
            assert_all_close(gradients(out, list(tensors.values())), of_inputs)
