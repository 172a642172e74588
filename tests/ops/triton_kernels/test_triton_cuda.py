"""The Triton kernels on a GPU where small graphs do not reach: hubs, 64-bit indices, tables beyond 2³¹ numbers, masks, and how
long a first call takes. What is small enough also runs in Triton's interpreter, where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cases.compare import assert_all_close
from cases.settings import backend
from torch import Tensor

from graphattn.ops import AdjacencyMask, BlockDiagonalMask, Mask, attention, layout

pytestmark = pytest.mark.usefixtures("through_triton")
ON_GPU = pytest.param("cuda", marks=pytest.mark.cuda)
DEVICES = [ON_GPU, pytest.param("cpu", id="interpreter")]
FIRST_CALL = 30.0  # seconds


def hub_graph(nodes: int, edges: int, hub: int) -> Tensor:
    """Random edges; `hub` more go to node 0, and as many come from node 1."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(nodes, (2, edges + 2 * hub), generator=generator)
    pairs[1, edges : edges + hub] = 0
    pairs[0, edges + hub :] = 1
    return pairs[:, torch.randperm(pairs.shape[1], generator=generator)]


def step(mask: Mask, inputs: list[Tensor], direction: Tensor) -> list[Tensor]:
    """Output, and the gradients of query, key, value and bias."""
    query, key, value, bias = inputs
    out = attention(query, key, value, mask, bias=bias)
    assert isinstance(out, Tensor)
    return [out.detach(), *torch.autograd.grad(out, inputs, direction)]


def exact_step(mask: Mask, inputs: list[Tensor], direction: Tensor) -> list[Tensor]:
    """The plain version in float64."""
    with backend("reference"):
        return step(mask, [tensor.detach().double().requires_grad_() for tensor in inputs], direction.double())


def draw(device: str, dtype: torch.dtype, nodes: int, edges: int, heads: int, channels: int) -> list[Tensor]:
    """Query, key, value [nodes, heads, channels] and bias [edges, heads]."""
    torch.manual_seed(0)
    shapes = [(nodes, heads, channels)] * 3
    tables = [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for shape in shapes]
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    return [*tables, torch.randn(edges, heads, dtype=compute, device=device, requires_grad=True)]


@pytest.mark.parametrize(
    ("device", "dtype", "tolerance"),
    [
        pytest.param("cuda", torch.float32, 1e-5, marks=pytest.mark.cuda),
        pytest.param("cuda", torch.bfloat16, 1e-2, marks=pytest.mark.cuda),
        pytest.param("cpu", torch.float32, 1e-5, id="interpreter"),
    ],
)
def test_hubs_of_thousands_of_edges(monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, tolerance: float) -> None:
    nodes, edges, hub, heads, channels = (3000, 20_000, 5000, 4, 32) if device == "cuda" else (20, 60, 600, 1, 8)
    edge_index = hub_graph(nodes, edges, hub).to(device)
    inputs = draw(device, dtype, nodes, edge_index.shape[1], heads, channels)
    direction = torch.randn(inputs[2].shape, device=device).to(dtype)
    mask = AdjacencyMask.from_edge_index(edge_index, nodes)
    found = step(mask, inputs, direction)
    assert mask.by_target("triton").items.shape[0] > nodes  # some rows are cut
    assert_all_close(found, exact_step(mask, inputs, direction), tolerance=tolerance, zero=0.0)
    again = step(AdjacencyMask.from_edge_index(edge_index.clone(), nodes), inputs, direction)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_64_bit_indices_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    nodes, edges, hub = (500, 3000, 1500) if device == "cuda" else (30, 100, 600)
    edge_index = hub_graph(nodes, edges, hub).to(device)
    inputs = draw(device, torch.float32, nodes, edge_index.shape[1], 2, 8)
    direction = torch.randn(inputs[2].shape, device=device)
    small = AdjacencyMask.from_edge_index(edge_index, nodes)
    narrow = step(small, inputs, direction)
    monkeypatch.setattr(layout, "INT32_LIMIT", 1)
    large = AdjacencyMask.from_edge_index(edge_index.clone(), nodes)
    wide = step(large, inputs, direction)
    assert (small.by_target("triton").edges.dtype, large.by_target("triton").edges.dtype) == (torch.int32, torch.int64)
    assert large.by_target("triton").items.dtype == torch.int64
    assert all(torch.equal(one, other) for one, other in zip(narrow, wide, strict=True))


SIZES = {
    # A bias of 40 million edges and 64 heads has 2.56 · 10⁹ numbers; a table of 4.5 million nodes and 512 channels 2.3 · 10⁹.
    "edges": ("cuda", torch.float32, 200_000, 40_000_000, 64, 4, 1e-5),
    "nodes": ("cuda", torch.bfloat16, 4_500_000, 9_000_000, 8, 64, 1e-2),
    "interpreter": ("cpu", torch.float32, 50, 400, 3, 4, 1e-5),
}


@pytest.mark.parametrize("size", [*(pytest.param(name, marks=pytest.mark.cuda) for name in ("edges", "nodes")), "interpreter"])
def test_tables_beyond_2_to_the_31_numbers(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    """The last rows of each table, and what they have a part in, are those of a graph of only the edges to the last nodes."""
    device, dtype, nodes, edges, heads, channels, tolerance = SIZES[size]
    if device == "cuda":
        torch.cuda.empty_cache()
        if torch.cuda.mem_get_info()[0] < 80 << 30:
            pytest.skip("needs 80 GiB of free GPU memory")
        assert max(nodes * heads * channels, edges * heads) > 2**31
    generator = torch.Generator(device).manual_seed(0)
    edge_index = torch.randint(nodes, (2, edges), device=device, generator=generator)
    last = torch.arange(nodes - 20, nodes, device=device)
    edge_index[1, -20:] = last
    inputs = draw(device, dtype, nodes, edges, heads, channels)
    direction = torch.zeros_like(inputs[2])
    direction[last] = torch.randn(direction[last].shape, device=device).to(dtype)
    found = step(AdjacencyMask.from_edge_index(edge_index, nodes), inputs, direction)
    kept = (edge_index[1] >= nodes - 20).nonzero().squeeze(1)
    used = torch.cat([edge_index[0, kept], last]).unique()
    # Of that graph only the nodes that it uses: in float64 the tables would not fit.
    renamed = torch.searchsorted(used, edge_index[:, kept])
    rows = [tensor.detach()[used if place < 3 else kept].requires_grad_() for place, tensor in enumerate(inputs)]
    expected = exact_step(AdjacencyMask.from_edge_index(renamed, used.shape[0]), rows, direction[used])
    assert_all_close([found[0][last]], [expected[0][torch.searchsorted(used, last)]], tolerance=tolerance, zero=0.0)
    assert_all_close([*(tensor[used] for tensor in found[1:4]), found[4][kept]], expected[1:], tolerance=tolerance, zero=0.0)
    for tensor, part in zip(found[1:], [used, used, used, kept], strict=True):
        assert int(tensor.count_nonzero()) == int(tensor[part].count_nonzero())


@pytest.mark.parametrize("device", DEVICES)
def test_a_mask_built_there_is_the_one_built_on_the_cpu(device: str) -> None:
    """Rows, and the order of edges inside each; the work alone is cut otherwise."""
    edge_index, batch = hub_graph(300, 5000, 1000), torch.randint(40, (700,), generator=torch.Generator().manual_seed(1))
    there = AdjacencyMask.from_edge_index(edge_index.to(device, copy=True), 300)
    blocks = BlockDiagonalMask.from_batch(batch.to(device, copy=True), 41)
    here, of_blocks = AdjacencyMask.from_edge_index(edge_index, 300), BlockDiagonalMask.from_batch(batch, 41).layout("cpu")
    for one, other in (
        (there.by_target("triton"), here.by_target("cpu")),
        (there.by_source("triton"), here.by_source("cpu")),
    ):
        for name in ("pointers", "neighbours", "edges"):
            assert torch.equal(getattr(one, name).cpu(), getattr(other, name)), name
    found = blocks.layout("triton")
    assert torch.equal(found.pointers.cpu(), of_blocks.pointers)
    assert torch.equal(found.first_nodes.cpu(), of_blocks.first_nodes)
    assert found.tiles is not None
    assert of_blocks.graphs is not None
    assert torch.equal(found.tiles[:, :2].cpu(), of_blocks.graphs)  # of graphs as small as these one tile each
    assert blocks.order is not None
    assert torch.equal(blocks.order.cpu(), batch.argsort(stable=True))


def first_call_script(device: str) -> Iterator[str]:
    """A training step with edge features, bias and dropout, and one without, each timed as a new process meets it."""
    nodes, edges = (20_000, 300_000) if device == "cuda" else (20, 60)
    yield "import time, torch"
    yield "from graphattn.ops import AdjacencyMask, EdgeFeatures, attention"
    yield f"device, nodes, edges = {device!r}, {nodes}, {edges}"
    yield "normal = lambda *shape: torch.randn(shape, device=device, requires_grad=True)"
    yield "mask = AdjacencyMask.from_edge_index(torch.randint(nodes, (2, edges), device=device), nodes).prepare()"
    yield "for heads, channels, width in ((1, 128, 0), (4, 32, 16)):"
    yield "    tables = [normal(nodes, heads, channels) for _ in range(3)]"
    yield "    maps = [normal(heads, channels, width) for _ in range(2)] if width else []"
    yield "    more = dict(edge_attr=EdgeFeatures(normal(edges, width), *maps), bias=normal(edges, heads)) if width else {}"
    yield "    normal(1).sum().item()"
    yield "    start = time.perf_counter()"
    yield "    attention(*tables, mask, dropout=0.1 if width else 0.0, **more).sum().backward()"
    yield "    tables[0].grad.sum().item()"
    yield "    print(time.perf_counter() - start)"


@pytest.mark.parametrize("device", DEVICES)
def test_a_first_call_is_bounded(tmp_path: Path, device: str) -> None:
    """Everything is compiled, and whatever is tuned is tuned: nothing of it is on disk before."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "triton"), "GRAPHATTN_CACHE": str(tmp_path / "graphattn")}
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(first_call_script(device))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    seconds = [float(line) for line in run.stdout.split()]
    assert len(seconds) == 2
    assert max(seconds) < FIRST_CALL
