"""The embeddings of what is known of a node: their values by hand, and what every one of them promises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.structure import (
    STRUCTURE,
    AddDegree,
    AddPosition,
    CycleEncoding,
    DegreeBucketEncoding,
    DegreeEncoding,
    LearnedEncoding,
    RandomWalkEncoding,
    SinusoidalEncoding,
)

ENCODINGS = STRUCTURE["encodings"]
COLUMNS = {"degree": 2, "degree_bucket": 2, "random_walk": 5, "cycles": 4, "sinusoidal": 1, "learned": 50}


def made(name: str, width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return ENCODINGS[name](COLUMNS[name], width)


def columns(name: str, num_nodes: int) -> Tensor:
    """Values such as the transforms compute."""
    places = torch.arange(num_nodes).unsqueeze(1)
    if name in ("sinusoidal", "learned"):
        return places % 50 + 0.0
    counts = (places * 7 + torch.arange(COLUMNS[name])) % 23
    return {"random_walk": counts / 23, "cycles": counts * 1000.0}.get(name, counts.float().log1p())


def test_names() -> None:
    classes = [DegreeEncoding, DegreeBucketEncoding, RandomWalkEncoding, CycleEncoding, SinusoidalEncoding, LearnedEncoding]
    assert [ENCODINGS[name] for name in COLUMNS] == classes
    data = Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
    for name in COLUMNS:
        given = ENCODINGS[name].transform(COLUMNS[name])(data)
        out = made(name)(*(given[attribute] for attribute in ENCODINGS[name].reads))
        assert out.shape == (3, 8)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("num_nodes", [0, 1, 30])
def test_shape_and_gradients(name: str, num_nodes: int) -> None:
    module, encoding = made(name), columns(name, num_nodes)
    before = encoding.clone()
    out = module(encoding)
    assert out.shape == (num_nodes, 8)
    assert out.isfinite().all()
    assert torch.equal(encoding, before)
    if num_nodes and list(module.parameters()):
        out.square().sum().backward()
        assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize("name", COLUMNS)
def test_each_node_by_itself(name: str) -> None:
    module, encoding = made(name).double(), columns(name, 30).double()
    order = torch.randperm(30)
    torch.testing.assert_close(module(encoding[order]), module(encoding)[order])
    torch.testing.assert_close(module(encoding[:1]), module(encoding)[:1])


@pytest.mark.parametrize("name", COLUMNS)
def test_autocast(name: str) -> None:
    module, encoding = made(name), columns(name, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(encoding)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), module(encoding), rtol=2e-2, atol=2e-2)
    assert module.double()(encoding.double()).dtype == torch.float64


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("autocast", [False, True])
def test_compiles_and_exports(name: str, autocast: bool) -> None:
    module = made(name)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    exported = torch.export.export(
        module, (columns(name, 30),), dynamic_shapes={"encoding": {0: torch.export.Dim("nodes", min=2)}}
    ).module()
    for num_nodes in (30, 7):
        encoding = columns(name, num_nodes)
        torch.testing.assert_close(exported(encoding), module(encoding))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = compiled(encoding)
            assert out.dtype == (torch.bfloat16 if autocast else torch.float32)
            torch.testing.assert_close(out, module(encoding))


@pytest.mark.parametrize("width", [2, 8, 7, 1])
def test_on_a_path_graph_sinusoidal_is_the_sequence_formula(width: int) -> None:
    """Vaswani et al. (2017), section 3.5, word by word."""
    words = 300
    steps = torch.arange(words - 1)
    edge_index = torch.cat([torch.stack([steps, steps + 1]), torch.stack([steps + 1, steps])], 1)
    data = AddPosition()(Data(edge_index=edge_index, num_nodes=words))
    expected = [
        [
            math.sin(word / 10_000 ** (c / width)) if c % 2 == 0 else math.cos(word / 10_000 ** ((c - 1) / width))
            for c in range(width)
        ]
        for word in range(words)
    ]
    module = SinusoidalEncoding(1, width)
    assert not list(module.parameters())
    torch.testing.assert_close(module(data.position_pe), torch.tensor(expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(data.position_pe.double()), torch.tensor(expected, dtype=torch.float64))


def test_sinusoidal_positions_beyond_half_precision() -> None:
    position = torch.tensor([[4000.0], [4001.0]])
    exact = SinusoidalEncoding(1, 4)(position)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(SinusoidalEncoding(1, 4)(position).float(), exact, rtol=1e-2, atol=1e-2)
    half = position.half()
    assert SinusoidalEncoding(1, 4)(half).dtype == torch.float16


def test_sinusoidal_reads_one_position() -> None:
    with pytest.raises(InputError, match="encodings 'sinusoidal' must be 1, the column of the position, got 2"):
        SinusoidalEncoding(2, 8)


def test_learned_reads_rows_of_its_table() -> None:
    module = LearnedEncoding(4, 3)
    out = module(torch.tensor([[3.0], [0.0], [1.2]]))
    assert torch.equal(out, module.table.weight[[3, 0, 1]])
    for position in (4.0, -1.0, math.nan):
        with pytest.raises(InputError, match="position_pe must be in 0 … 3, the rows of the table, got"):
            module(torch.tensor([[0.0], [position]]))


def test_bucket_of_each_degree() -> None:
    """The buckets that the docstring lists: each of its first degrees and the one before it."""
    module = DegreeBucketEncoding(1, 1)
    with torch.no_grad():
        module.table.weight.copy_(torch.arange(len(module.table.weight)).float().unsqueeze(1))
    first = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072]
    assert len(module.table.weight) == len(first)
    degrees = torch.arange(4000.0)
    expected = [sum(degree >= start for start in first) - 1 for degree in range(4000)]
    for encoding in (degrees.log1p(), degrees.double().log1p(), degrees.log1p().nextafter(torch.tensor(9.0))):
        assert module(encoding.unsqueeze(1)).flatten().tolist() == expected
    assert module(torch.tensor([[1e9]]).log1p()).item() == len(first) - 1


def test_in_and_out_degree_have_tables_of_their_own() -> None:
    module = DegreeBucketEncoding(2, 4)
    data = AddDegree("both")(Data(edge_index=torch.tensor([[0, 0], [1, 1]]), num_nodes=2))
    table = module.table.weight.view(2, -1, 4)
    torch.testing.assert_close(module(data.degree_pe), torch.stack([table[0, 0] + table[1, 2], table[0, 2] + table[1, 0]]))


def test_cycle_counts_enter_as_logarithms() -> None:
    module = CycleEncoding(2, 3)
    counts = torch.tensor([[0.0, 1.0], [636236.0, 5844.0]])
    expected = torch.tensor([[0.0, math.log(2)], [math.log(636237), math.log(5845)]])
    torch.testing.assert_close(module(counts), module.embed(expected))


def test_sinusoidal_of_whole_numbers() -> None:
    positions = torch.arange(3).unsqueeze(1)
    encoding = SinusoidalEncoding(1, 4)
    assert torch.equal(encoding(positions), encoding(positions.float()))
