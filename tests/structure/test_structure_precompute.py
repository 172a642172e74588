"""Many graphs at once: equal to one by one, in any grouping, from the cache, after a kill, and on damaged files."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_cases import drawn, graph, graphs
from torch import Tensor
from torch_geometric.data import Batch, Data, InMemoryDataset
from torch_geometric.transforms import Compose, ToUndirected

from graphattn.errors import InputError
from graphattn.structure import (
    AddDegree,
    AddDistance,
    AddPosition,
    AddRelativeWalk,
    AddResistance,
    Graphs,
    StructuralTransform,
    precompute,
)

MODULE = sys.modules["graphattn.structure.precompute"]  # the package shows the function of this name


class Loud(StructuralTransform):
    """Every kind of value, and a count of how many graphs were computed."""

    adds = {"loud_pe": "node", "loud_pair": "pair", "loud_index": "edge_index", "loud_type": "edge"}
    computed = 0

    def __init__(self, factor: float = 1.0, weight: str | None = None) -> None:
        self.factor, self.weight = factor, weight

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        Loud.computed += len(graphs.sizes)
        source, target = graphs.edge_index
        node = torch.arange(graphs.num_nodes) - graphs.ptr[:-1].repeat_interleave(graphs.sizes)
        # Edges of all graphs mixed: they must find their way back.
        mixed = node[target].argsort(stable=True) if graphs.num_nodes else target
        return {
            "loud_pe": node.double().unsqueeze(-1) * self.factor,
            "loud_pair": torch.cat([torch.arange(int(size) ** 2) for size in graphs.sizes]) if len(graphs.sizes) else node,
            "loud_index": torch.stack([target, source])[:, mixed],
            "loud_type": graphs.weights[mixed] * self.factor,
        }


ALL = [AddDistance(3), AddRelativeWalk(4, "weight"), AddResistance("weight"), AddDegree(), Loud(2.0, "weight")]


@pytest.fixture(autouse=True)
def _count() -> None:
    Loud.computed = 0


def some_graphs(count: int = 12) -> list[Data]:
    """Graphs of 0 … 5 nodes, no two alike in weights."""
    number = torch.Generator().manual_seed(0)
    out = []
    for size in range(count):
        nodes = size % 6
        edge_index = torch.randint(0, max(nodes, 1), (2, 2 * nodes), generator=number)
        out.append(Data(edge_index=edge_index, num_nodes=nodes, weight=torch.rand(2 * nodes, generator=number)))
    return out


def check_equal(actual: list[Data], expected: list[Data], exactly: bool = False) -> None:
    tolerance = {"rtol": 0, "atol": 0} if exactly else {}
    for left, right in zip(actual, expected, strict=True):
        assert set(left.keys()) == set(right.keys())
        for name, value in right:
            if isinstance(value, Tensor):
                torch.testing.assert_close(left[name], value, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("structure-*"))


# --- values -----------------------------------------------------------------------------------------------------------


@drawn
@given(st.lists(graphs(), max_size=6), st.integers(1, 4), st.integers(1, 60))
def test_equals_one_by_one_in_any_grouping(some: list[Data], most_graphs: int, most_pairs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_CHUNK_GRAPHS", most_graphs)
        patch.setattr(MODULE, "_CHUNK_PAIRS", most_pairs)
        actual = precompute(some, ALL, cache=None)
    check_equal(actual, [Compose(ALL)(one) for one in some])


def test_kinds_of_transform_and_graph() -> None:
    bare = Data(num_nodes=2)
    assert precompute([bare], AddDistance(1), cache=None)[0].distance_pair.tolist() == [0, 3, 3, 0]
    nested = Compose([AddDistance(1), Compose([AddDistance(2), AddRelativeWalk(2)])])
    (done,) = precompute([graph([(0, 1), (1, 2)], 3)], nested, cache=None)
    assert done.distance_pair.tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]  # as Compose has it, the later one holds
    assert done.rrwp_pair.shape == (9, 2)
    assert precompute([], nested) == []


def test_chunks_are_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 3)
    monkeypatch.setattr(MODULE, "_CHUNK_PAIRS", 100)
    parts = [(part.start, part.stop) for part in MODULE._chunks([1, 1, 1, 1, 9, 5, 50, 50, 0])]
    assert parts == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8), (8, 9)]


def test_graphs_are_not_changed_and_go_into_batches() -> None:
    some = some_graphs()
    before = [one.clone() for one in some]
    done = precompute(some, ALL, cache=None)
    check_equal(some, before, exactly=True)
    together = Batch.from_data_list(done)
    assert torch.equal(together.distance_pair, AddDistance(3)(Batch.from_data_list(some)).distance_pair)


def test_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = precompute(some_graphs(3), ALL, cache=None)
    capsys.readouterr()
    drawn = precompute(some_graphs(3), ALL, cache=None, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "structure of graphs" in err
    assert "3/3" in err
    check_equal(drawn, quiet, exactly=True)


def test_inside_a_data_set(tmp_path: Path) -> None:
    """As the `pre_transform` of a torch_geometric data set, which keeps what it gave."""
    graphs, transform = some_graphs(4), Compose(ALL)

    class Some(InMemoryDataset):
        processed_file_names = ("data.pt",)

        def __init__(self) -> None:
            super().__init__(str(tmp_path), pre_transform=transform)
            self.load(self.processed_paths[0])

        def process(self) -> None:
            self.save([self.pre_transform(graph.clone()) for graph in graphs], self.processed_paths[0])

    expected = precompute(graphs, ALL, cache=None)
    for found in (Some(), Some()):
        check_equal(list(found), expected, exactly=True)


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 5)
    for _ in range(2):
        seen: list[int] = []
        precompute(some_graphs(12), ALL, cache=tmp_path, progress=seen.append)
        assert seen == [5, 5, 2]


def test_any_number_of_jobs_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None here goes over to workers after the second chunk. They write the cache, too."""
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 3)
    monkeypatch.setattr(MODULE, "_WORTH_WORKERS", -1.0)
    some, transforms = some_graphs(20), ALL[:-1]
    alone = precompute(some, transforms, cache=None, n_jobs=1)
    check_equal(precompute(some, transforms, cache=tmp_path, n_jobs=2), alone, exactly=True)
    assert len(files(tmp_path)) == 7 * len(transforms)
    check_equal(precompute(some, transforms, cache=tmp_path, n_jobs=2), alone, exactly=True)
    check_equal(precompute(some, transforms, cache=None), alone, exactly=True)


# --- cache ------------------------------------------------------------------------------------------------------------


def test_second_run_computes_nothing(tmp_path: Path) -> None:
    first = precompute(some_graphs(), ALL, cache=tmp_path)
    assert Loud.computed == 12
    second = precompute(some_graphs(), ALL, cache=tmp_path)
    assert Loud.computed == 12
    check_equal(second, first, exactly=True)
    assert len(files(tmp_path)) == len(ALL)
    second[3].loud_pe[0] = 99  # in memory of their own, that can be written
    check_equal(precompute(some_graphs(), ALL, cache=tmp_path), first, exactly=True)


def test_what_a_value_depends_on_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = some_graphs()
    weighted = Loud(2.0, "weight")

    def computes(transform: Loud) -> bool:
        before = Loud.computed
        check_equal(precompute(some, transform, cache=tmp_path), [transform(one) for one in some])
        return Loud.computed - before > len(some)

    assert computes(weighted)
    assert not computes(weighted)
    assert computes(Loud(3.0, "weight"))  # an option
    assert computes(Loud(2.0))
    some[5].weight = some[5].weight * 2
    assert computes(weighted)
    assert not computes(Loud(2.0))  # which reads no weights
    some[5].edge_index = some[5].edge_index.flip(1)
    assert computes(Loud(2.0))
    some[5].num_nodes += 1
    assert computes(Loud(2.0))
    some[5].x = torch.ones(6, 1)
    assert not computes(Loud(2.0))
    monkeypatch.setattr(Loud, "version", 2)
    assert computes(Loud(2.0))


def test_where_graphs_end_is_in_the_key(tmp_path: Path) -> None:
    """One graph of four nodes, and two of two: the same edges."""
    pair = graph([(0, 1)], 2)
    precompute([graph([(0, 1), (2, 3)], 4)], AddDistance(), cache=tmp_path)
    assert precompute([pair, pair], AddDistance(), cache=tmp_path)[1].distance_pair.tolist() == [0, 1, 1, 0]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip_last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [_cut, _flip_last_bit, lambda content: b"", lambda content: b"no such format"])
def test_damaged_file_is_computed_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    first = precompute(some_graphs(), Loud(), cache=tmp_path)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    check_equal(precompute(some_graphs(), Loud(), cache=tmp_path), first, exactly=True)
    assert Loud.computed == 24
    assert path.read_bytes() == whole


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check_equal(precompute(some_graphs(), ALL, cache=tmp_path / "file"), [Compose(ALL)(one) for one in some_graphs()])


def test_default_cache_is_for_lists_that_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    monkeypatch.setattr(MODULE, "_WORTH_CACHING", 20)
    precompute(some_graphs(6), Loud())
    assert not files(tmp_path / "structure")
    precompute(some_graphs(12), Loud())
    assert len(files(tmp_path / "structure")) == 1


def test_oldest_files_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precompute(some_graphs(3), Loud(), cache=tmp_path)
    (oldest,) = files(tmp_path)
    os.utime(oldest, (0, 0))
    monkeypatch.setattr(MODULE, "_CACHE_LIMIT", oldest.stat().st_size * 3 // 2)
    precompute(some_graphs(3), Loud(2.0), cache=tmp_path)
    assert len(files(tmp_path)) == 1
    assert not oldest.exists()


SLOW = """
import os, sys, time
import torch
from torch_geometric.data import Data
from graphattn.structure import AddDistance, precompute
from graphattn.structure import StructuralTransform
module = sys.modules["graphattn.structure.precompute"]
module._CHUNK_GRAPHS = 1

class Slow(StructuralTransform):
    adds = {"slow_pe": "node"}
    computed = 0

    def compute(self, graphs):
        Slow.computed += 1
        time.sleep(float(os.environ["SECONDS"]))
        return {"slow_pe": graphs.ptr[-1].float().expand(graphs.num_nodes, 1).contiguous()}

done = precompute([Data(num_nodes=size) for size in range(1, 41)], [Slow(), AddDistance()], cache=sys.argv[1], n_jobs=1)
assert all(bool((one.slow_pe == size).all()) and one.distance_pair.shape == (size**2,) for size, one in enumerate(done, 1))
print(Slow.computed)
"""


def test_killed_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, script = tmp_path / "cache", tmp_path / "slow.py"
    script.write_text(SLOW)
    command = [sys.executable, str(script), str(cache)]
    # As pytest has it, not only where the package is installed.
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": paths}
    killed = subprocess.Popen(command, env={**environment, "SECONDS": "0.2"}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(files(cache)) < 6 and time.monotonic() < deadline and killed.poll() is None:
            time.sleep(0.02)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    left = [path for path in files(cache) if path.suffix == ".safetensors"]
    assert 6 <= len(left) < 80
    assert all(MODULE._load(path) is not None for path in left)
    monkeypatch.setenv("SECONDS", "0")
    monkeypatch.setattr(sys, "argv", command[1:])
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 1)
    runpy.run_path(str(script), run_name="__main__")  # another process than that which was killed
    # Both transforms of a graph are written in turn: half of the files are of the slow one.
    assert int(capsys.readouterr().out) == 40 - (len(left) + 1) // 2


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Unable to accurately infer 'num_nodes'")
@pytest.mark.parametrize(
    ("some", "transform", "message"),
    [
        ([], ToUndirected(), "transform must be a StructuralTransform, or a list or Compose of them, got ToUndirected"),
        ([], [AddDistance(), None], "got NoneType"),
        ([graph([], 1), None], AddDistance(), "one torch_geometric Data for each graph, got NoneType at number 1"),
        ([Batch.from_data_list([graph([], 1)])], AddDistance(), "got a batch at number 0"),
        ([graph([], 1), Data()], AddDistance(), "num_nodes, x or edge_index, but graph 1 has none"),
        ([graph([], 3), graph([(0, 1)], 1)], AddDistance(), r"graph 1 must hold nodes in \[0, 1\), got values from 0 to 1"),
        (
            [graph([], 3), Data(edge_index=torch.zeros(3, 2, dtype=torch.long), num_nodes=1)],
            AddDistance(),
            r"edge_index of graph 1 must be integers of shape \[2, edges\], got torch.int64 \[3, 2\]",
        ),
        ([graph([(0, 1)], 2)], AddResistance("w"), "w of graph 0 must hold one weight for each of 2 edges, got NoneType"),
        (
            [Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2, w=torch.tensor([-1.0]))],
            AddResistance("w"),
            "finite and not negative",
        ),
    ],
)
def test_bad_input(some: list[Data], transform: StructuralTransform, message: str) -> None:
    with pytest.raises(InputError, match=message):
        precompute(some, transform, cache=None)


def test_number_of_a_bad_graph_counts_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 2)
    with pytest.raises(InputError, match=r"edge_index of graph 3 must hold nodes in \[0, 1\)"):
        precompute([graph([], 1)] * 3 + [graph([(0, 1)], 1)], AddDistance(), cache=None)


def test_pairs_of_all_graphs_are_refused_before_they_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_CHUNK_GRAPHS", 2)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 1599}.__getitem__)
    precompute([graph([(0, 1)], 2)] * 199, AddDistance(), cache=None)
    with pytest.raises(InputError, match="encodings of 800 pairs of nodes would take about 800 bytes"):
        precompute([graph([(0, 1)], 2)] * 200, AddDistance(), cache=None)


def test_positions_that_are_given_are_kept() -> None:
    ring = graph([(0, 1), (1, 2), (2, 0)], 3)
    ring.position_pe = torch.tensor([[2], [0], [1]])
    line = graph([(0, 1)], 2)
    done = precompute([ring, line], [AddDegree(), AddPosition()], cache=None)
    assert done[0].position_pe.tolist() == [[2], [0], [1]]
    assert done[1].position_pe.tolist() == [[0], [1]]
    assert "degree_pe" in done[0]
