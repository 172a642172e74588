"""Laplacian eigenvectors against scipy's dense solver, closed forms, and where the stock transform fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
from helpers import threads
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import from_networkx

from graphattn.chem import from_smiles
from graphattn.errors import InputError
from graphattn.structure import AddLaplacian, flip_signs
from graphattn.structure.compute import eigenvectors as module


def graph(edges: list[tuple[int, int]], num_nodes: int) -> Data:
    return Data(edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes)


def both(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors and eigenvalues, float64."""
    return data.laplacian_pe.double().numpy(), data.laplacian_values_pe.double().numpy()


def permuted(data: Data, order: Tensor) -> Data:
    """Node `order[i]` becomes node i."""
    return Data(edge_index=order.argsort()[data.edge_index], num_nodes=data.num_nodes)


@st.composite
def graphs(draw: st.DrawFn, most: int = 8) -> Data:
    """Directed graphs with multi-edges, self-loops, loose nodes and edges of weight zero; some with no edge, some empty."""
    num_nodes = draw(st.integers(0, most))
    node = st.integers(0, max(num_nodes - 1, 0))
    edges = draw(st.lists(st.tuples(node, node, st.sampled_from([0.0, 0.25, 1.0, 3.0])), max_size=3 * num_nodes))
    data = graph([edge[:2] for edge in edges], num_nodes)
    data.strength = torch.tensor([edge[2] for edge in edges])
    return data


def matrices(data: Data, weighted: bool, normalisation: str) -> list[tuple[list[int], np.ndarray, np.ndarray]]:
    """The nodes, L and D of every component, in plain loops."""
    joined = nx.Graph()
    joined.add_nodes_from(range(data.num_nodes))
    for edge, (i, j) in enumerate(data.edge_index.t().tolist()):
        weight = float(data.strength[edge]) if weighted else 1.0
        if i != j and weight:
            before = joined[i][j]["weight"] if joined.has_edge(i, j) and weighted else 0.0
            joined.add_edge(i, j, weight=before + weight)
    out = []
    for component in nx.connected_components(joined):
        nodes = sorted(component)
        adjacency = nx.to_numpy_array(joined, nodelist=nodes)
        degree = np.diag(adjacency.sum(1))
        if len(nodes) == 1:
            out.append((nodes, np.zeros((1, 1)), degree))
        elif normalisation == "symmetric":
            root = np.linalg.inv(scipy.linalg.sqrtm(degree))
            out.append((nodes, np.eye(len(nodes)) - root @ adjacency @ root, degree))
        else:
            out.append((nodes, np.eye(len(nodes)) - np.linalg.inv(degree) @ adjacency, degree))
    return out


@settings(max_examples=150, deadline=None)
@given(data=graphs(), weighted=st.booleans(), normalisation=st.sampled_from(["symmetric", "random_walk"]), k=st.integers(1, 9))
def test_against_dense_eigenvalues_by_component(data: Data, weighted: bool, normalisation: str, k: int) -> None:
    out = AddLaplacian(k, normalisation, "strength" if weighted else None)(data)
    vectors, values = both(out)
    assert vectors.shape == values.shape == (data.num_nodes, k)
    assert out.laplacian_pe.dtype == out.laplacian_values_pe.dtype == torch.float32
    for nodes, laplacian, degree in matrices(data, weighted, normalisation):
        columns = min(k, len(nodes) - 1)
        v, w = vectors[nodes], values[nodes]
        assert not v[:, columns:].any()
        assert not w[:, columns:].any()
        v, w = v[:, :columns], w[:, :columns]
        assert (w == w[:1]).all()
        assert (w > 0).all()
        if columns:
            expected = np.sort(scipy.linalg.eigvals(laplacian).real)[1 : k + 1]
            np.testing.assert_allclose(w[0], expected, atol=1e-6)
            np.testing.assert_allclose(laplacian @ v, v * w, atol=1e-5)
            np.testing.assert_allclose(np.square(v).mean(0), 1, rtol=1e-5)
            # Independent of each other and of the trivial vector: orthogonal, in the metric D for the random walk.
            metric = np.eye(len(nodes)) if normalisation == "symmetric" else degree
            trivial = np.sqrt(np.diag(degree)) if normalisation == "symmetric" else np.ones(len(nodes))
            gram = v.T @ metric @ v
            np.testing.assert_allclose(gram / len(nodes), np.diag(np.diag(gram)) / len(nodes), atol=1e-5)
            np.testing.assert_allclose(trivial @ metric @ v, 0, atol=1e-4)


def test_two_nodes() -> None:
    """L = [[1, -1], [-1, 1]]: eigenvalue 2 and (1, -1), of norm √2. v and −v are the same graph: the first node decides."""
    data = AddLaplacian(3)(graph([(0, 1)], 2))
    assert data.laplacian_pe.tolist() == [pytest.approx([1, 0, 0]), pytest.approx([-1, 0, 0])]
    assert data.laplacian_values_pe.tolist() == [pytest.approx([2, 0, 0])] * 2


def test_path_of_three() -> None:
    """I - D^-½ W D^-½ has (1, 0, -1) at 1 and (-1, √2, -1) at 2; I - D⁻¹ W has (1, 0, -1) and (-1, 1, -1); norm √3.

    Cubes of (-1, √2, -1) add up to 2√2 - 2 > 0, those of (-1, 1, -1) to -1 < 0.
    """
    path = graph([(0, 1), (1, 2)], 3)
    side, half = math.sqrt(1.5), math.sqrt(0.75)
    vectors, values = both(AddLaplacian(2)(path))
    np.testing.assert_allclose(vectors, [[side, -half], [0, side], [-side, -half]], atol=1e-6)
    np.testing.assert_allclose(values, [[1, 2]] * 3, atol=1e-6)
    vectors, values = both(AddLaplacian(2, "random_walk")(path))
    np.testing.assert_allclose(vectors, [[side, 1], [0, -1], [-side, 1]], atol=1e-6)
    np.testing.assert_allclose(values, [[1, 2]] * 3, atol=1e-6)


def test_edges_count_in_both_directions_once() -> None:
    one_way = both(AddLaplacian(2)(graph([(0, 1), (1, 2)], 3)))
    for edges in ([(0, 1), (1, 0), (1, 2), (2, 1)], [(0, 1), (1, 2), (1, 2), (1, 0), (2, 2)]):
        for given_, expected in zip(both(AddLaplacian(2)(graph(edges, 3))), one_way, strict=True):
            np.testing.assert_array_equal(given_, expected)


def test_weights_of_both_directions_add_up() -> None:
    """W₀₁ = 1 + 2, W₁₂ = 1, W₀₂ = 0: the random walk has eigenvalues 1 and 2, and at 1 the vector (1, 0, -3)."""
    data = graph([(0, 1), (1, 0), (1, 2), (2, 0)], 3)
    data.strength = torch.tensor([1.0, 2.0, 1.0, 0.0])
    vectors, values = both(AddLaplacian(2, "random_walk", weight="strength")(data))
    np.testing.assert_allclose(values, [[1, 2]] * 3, atol=1e-6)
    assert vectors[0, 0] / vectors[2, 0] == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    ("smiles", "columns"),
    [("C", [0]), ("CC", [1, 1]), ("CCO", [2, 2, 2]), ("C.C", [0, 0]), ("CC.CCC.[Na+]", [1, 1, 2, 2, 2, 0])],
)
def test_molecules_smaller_than_k(smiles: str, columns: list[int]) -> None:
    """torch_geometric's transform stops at all of these."""
    data = AddLaplacian(8)(from_smiles(smiles))
    assert data.laplacian_pe.shape == data.laplacian_values_pe.shape == (len(columns), 8)
    assert data.laplacian_pe.isfinite().all()
    mask = data.laplacian_values_pe > 0
    assert mask.sum(1).tolist() == columns
    assert not data.laplacian_pe[~mask].any()


@pytest.mark.parametrize("num_nodes", [4, 6, 8, 10, 20])
def test_eigenvalues_of_a_component_are_not_zero_however_thin(num_nodes: int) -> None:
    """A path with an edge of weight 1e-30 in the middle: the first eigenvalue is far below rounding, and still no padding."""
    data = from_networkx(nx.path_graph(num_nodes))
    crosses = (data.edge_index < num_nodes // 2).sum(0) == 1
    data.strength = torch.where(crosses, 1e-30, torch.ones(data.num_edges, dtype=torch.float64))
    vectors, values = both(AddLaplacian(3, "random_walk", weight="strength")(data))
    assert (values > 0).all()
    assert (values[:, 0] < 1e-14).all()
    half = [1] * (num_nodes // 2)
    np.testing.assert_allclose(vectors[:, 0], half + [-1 for _ in half], atol=1e-6)


def test_components_stand_alone() -> None:
    parts = [nx.path_graph(4), nx.empty_graph(1), nx.cycle_graph(5), nx.star_graph(7), nx.path_graph(2)]
    whole = AddLaplacian(4)(from_networkx(nx.disjoint_union_all(parts)))
    alone = [AddLaplacian(4)(from_networkx(part) if part.edges else graph([], 1)) for part in parts]
    assert torch.equal(whole.laplacian_pe, torch.cat([part.laplacian_pe for part in alone]))
    assert torch.equal(whole.laplacian_values_pe, torch.cat([part.laplacian_values_pe for part in alone]))


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(graphs(), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_batch_equals_one_by_one(drawn: list[Data], seed: int) -> None:
    transform = AddLaplacian(4, weight="strength")
    alone = [transform(data.clone()) for data in drawn]
    batch = Batch.from_data_list([data.clone() for data in drawn])
    together = transform(batch.clone())
    order = mixed(batch.batch, seed)
    unsorted = Data(
        edge_index=order.argsort()[batch.edge_index], strength=batch.strength, batch=batch.batch[order], num_nodes=len(order)
    )
    unsorted = transform(unsorted)
    for name in ("laplacian_pe", "laplacian_values_pe"):
        assert torch.equal(together[name], torch.cat([data[name] for data in alone]))
        assert torch.equal(unsorted[name], together[name][order])


def mixed(batch: Tensor, seed: int) -> Tensor:
    """An order that mixes the graphs, but keeps that of the nodes of each, on which the basis of an eigenspace depends."""
    generator = torch.Generator().manual_seed(seed)
    graph_at = batch[torch.randperm(len(batch), generator=generator)]
    order = torch.empty_like(batch)
    order[graph_at.argsort(stable=True)] = batch.argsort(stable=True)
    return order


def test_the_sign_does_not_depend_on_the_order_of_the_nodes() -> None:
    """Where no symmetry turns v into −v; the eigenvalues of this graph are simple."""
    data = from_networkx(nx.gnp_random_graph(11, 0.3, seed=8))
    before = AddLaplacian(8)(data.clone())
    assert before.laplacian_values_pe[0].diff().min() > 1e-3
    assert before.laplacian_pe.double().pow(3).sum(0).min() > 1e-3
    for seed in range(20):
        order = torch.randperm(11, generator=torch.Generator().manual_seed(seed))
        after = AddLaplacian(8)(permuted(data, order))
        torch.testing.assert_close(after.laplacian_pe, before.laplacian_pe[order], rtol=1e-5, atol=1e-5)


def test_repeated_eigenvalues_of_a_hexagon() -> None:
    """The eigenspaces at ½ and 3/2 have two dimensions, and all nodes an equal share: the first vector has its peak at node 0,

    cos(2π c i / 6) · √2, and the second, the sine, at the first of the nodes where it is largest, here the first but node 0.
    """
    data = AddLaplacian(5)(from_networkx(nx.cycle_graph(6)))
    place = np.arange(6)
    expected = []
    for c in (1, 2):
        angle = 2 * math.pi * c * place / 6
        expected += [math.sqrt(2) * np.cos(angle), math.sqrt(2) * np.sin(angle)]
    vectors, values = both(data)
    np.testing.assert_allclose(values[0], [0.5, 0.5, 1.5, 1.5, 2], atol=1e-6)
    np.testing.assert_allclose(vectors[:, :4], np.stack(expected, 1), atol=1e-6)


def test_a_repeated_eigenvalue_that_k_cuts() -> None:
    """The first columns are the same for any k: the basis is chosen in the whole eigenspace, of 39 dimensions here."""
    star = from_networkx(nx.star_graph(40))
    many, few = (AddLaplacian(k)(star.clone()).laplacian_pe for k in (30, 4))
    assert torch.equal(many[:, :4], few)
    hexagon = from_networkx(nx.cycle_graph(6))
    assert torch.equal(AddLaplacian(1)(hexagon).laplacian_pe, AddLaplacian(5)(hexagon).laplacian_pe[:, :1])
    # P = I − 11ᵀ/40 on the leaves: the first vector is P e of the first leaf, of norm √41.
    expected = (torch.eye(40)[0] - 1 / 40) / math.sqrt(39 / 40) * math.sqrt(41)
    torch.testing.assert_close(few[1:, 0], expected)


def test_the_basis_of_an_eigenspace_is_that_of_any_solver() -> None:
    """Another orthonormal basis of the same eigenspaces gives the same vectors."""
    generator = np.random.default_rng(0)
    value = np.array([0.5, 0.5, 0.5, 0.7, 0.9, 0.9])
    vector = np.linalg.qr(generator.standard_normal((20, 6)))[0]
    other = vector.copy()
    other[:, :3] = vector[:, :3] @ np.linalg.qr(generator.standard_normal((3, 3)))[0]
    other[:, 4:] = vector[:, 4:] @ np.linalg.qr(generator.standard_normal((2, 2)))[0]
    before = vector.copy()
    for basis in (vector, other):
        module._fix_basis(value, basis, 6)
    np.testing.assert_allclose(other, vector, atol=1e-12)
    np.testing.assert_allclose(vector.T @ vector, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(vector[:, :3] @ vector[:, :3].T, before[:, :3] @ before[:, :3].T, atol=1e-12)


@pytest.mark.parametrize("num_nodes", [2, 99, 500, 501, 3000, 20_000])
@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
def test_paths(num_nodes: int, normalisation: str) -> None:
    """Of a path, the random walk's eigenvectors are cos(π c i / (n - 1)), at 1 - cos(π c / (n - 1)).

    From 501 nodes on the solver is sparse; the iteration does not converge for the longest, and factors take over.
    """
    data = AddLaplacian(3, normalisation)(from_networkx(nx.path_graph(num_nodes)))
    vectors, values = both(data)
    place = np.arange(num_nodes)
    for c in range(1, min(3, num_nodes - 1) + 1):
        expected = np.cos(math.pi * c * place / (num_nodes - 1))
        if normalisation == "symmetric":
            expected = expected * np.sqrt(np.where((place == 0) | (place == num_nodes - 1), 1, 2))
        expected = expected / np.sqrt(np.square(expected).mean())
        assert np.abs(vectors[:, c - 1] * np.sign(vectors[:, c - 1] @ expected) - expected).max() < 1e-4
        eigenvalue = 2 * math.sin(math.pi * c / (num_nodes - 1) / 2) ** 2
        np.testing.assert_allclose(values[:, c - 1], eigenvalue, rtol=1e-5)


def residual(data: Data, normalisation: str = "symmetric") -> float:
    """The largest entry of L v − λ v, by scipy, where the nodes have edges."""
    source, target = data.edge_index.numpy()
    keep = source != target
    shape = (data.num_nodes, data.num_nodes)
    one_way = sparse.csr_array((np.ones(keep.sum()), (source[keep], target[keep])), shape=shape)
    adjacency = ((one_way + one_way.T) > 0).astype(np.float64).tocsr()
    degree = adjacency.sum(1)
    vectors, values = both(data)
    if normalisation == "symmetric":
        scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)[:, None]
        walked = scale * (adjacency @ (scale * vectors))
    else:
        walked = adjacency @ vectors / np.maximum(degree, 1)[:, None]
    return float(np.abs(vectors - walked - values * vectors)[degree > 0].max())


def broom() -> nx.Graph:
    """Thirty paths of forty nodes from one: all eigenvalues but every thirtieth come 29 times."""
    made = nx.Graph()
    for arm in range(30):
        nx.add_path(made, [0, *range(1 + arm * 40, 41 + arm * 40)])
    return made


@pytest.mark.parametrize(
    "make",
    [
        broom,
        lambda: nx.hypercube_graph(10),
        lambda: nx.balanced_tree(5, 4),
        lambda: nx.balanced_tree(3, 6),
        lambda: nx.cycle_graph(800),
        lambda: nx.complete_graph(510),
        lambda: nx.star_graph(700),
        lambda: nx.grid_2d_graph(30, 30),
        lambda: nx.lollipop_graph(60, 700),
        lambda: nx.barabasi_albert_graph(800, 3, seed=0),
    ],
    ids=["broom", "hypercube", "tree-5", "tree-3", "cycle", "complete", "star", "grid", "lollipop", "power-law"],
)
@pytest.mark.parametrize("factorised", [False, True], ids=["plain", "factorised"])
def test_sparse_solvers_find_all_eigenvalues(
    make: Callable[[], nx.Graph], factorised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated ones as often as they are there; Lanczos iteration alone misses some. The dense solver is the oracle."""
    made = nx.convert_node_labels_to_integers(make())
    if factorised:
        largest = module._largest

        def on_factors_only(multiply: Callable[[np.ndarray], np.ndarray], *rest: Any) -> tuple[np.ndarray, np.ndarray]:
            if multiply.__name__ == "<lambda>":
                raise ArpackNoConvergence("", np.zeros(0), np.zeros((0, 0)))
            return largest(multiply, *rest)

        monkeypatch.setattr(module, "_largest", on_factors_only)
    data = AddLaplacian(8)(from_networkx(made))
    again = AddLaplacian(8)(from_networkx(made))
    assert torch.equal(data.laplacian_pe, again.laplacian_pe)
    expected = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(made, nodelist=sorted(made)).toarray())[1:9]
    vectors, values = both(data)
    np.testing.assert_allclose(values[0], expected, rtol=1e-6, atol=1e-9)
    assert residual(data) < 1e-5
    np.testing.assert_allclose(vectors.T @ vectors / len(vectors), np.eye(8), atol=1e-5)


def test_dense_and_sparse_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated eigenvalues too, where k does not cut them, as on the cycle."""
    for made in (nx.barabasi_albert_graph(300, 2, seed=1), nx.cycle_graph(300), nx.random_labeled_tree(300, seed=0)):
        data = from_networkx(made)
        with monkeypatch.context() as patch:
            dense = AddLaplacian(6)(data.clone())
            patch.setattr(module, "_DENSE", 10)
            thin = AddLaplacian(6)(data.clone())
        torch.testing.assert_close(thin.laplacian_values_pe, dense.laplacian_values_pe)
        torch.testing.assert_close(thin.laplacian_pe, dense.laplacian_pe, rtol=1e-4, atol=1e-4)


def test_many_columns_of_a_large_component() -> None:
    data = AddLaplacian(620)(from_networkx(nx.barabasi_albert_graph(610, 2, seed=0)))
    assert (data.laplacian_values_pe[:, :609] > 0).all()
    assert not data.laplacian_values_pe[:, 609:].any()
    assert residual(data) < 1e-5


def test_random_vectors_are_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that scipy draws too where its iteration runs out of directions."""
    default_rng = np.random.default_rng

    def seeded(seed: object = None) -> np.random.Generator:
        assert seed is not None
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", seeded)
    AddLaplacian(8)(from_networkx(nx.convert_node_labels_to_integers(nx.hypercube_graph(10))))


def test_where_nothing_converges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESTARTS", 1)

    def no_memory(walk: object) -> object:
        raise MemoryError

    monkeypatch.setattr(module, "_factorised", no_memory)
    with pytest.raises(InputError, match="data has a component of 2,000 nodes whose Laplacian eigenvectors could not be found"):
        AddLaplacian(4)(from_networkx(nx.path_graph(2000)))


@pytest.mark.parametrize("name", ["amazon_photo", "facebook_page_page", "github_social"])
@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
def test_real_networks(name: str, normalisation: str, real_data: Path) -> None:
    data = AddLaplacian(8, normalisation)(network(name, real_data))
    vectors, values = both(data)
    # Entries of the largest size carry float32's rounding.
    assert residual(data, normalisation) < 1e-6 * np.abs(vectors).max()
    assert (values[:, :7] > 0).any(0).all()
    used = (values > 0).all(1)
    np.testing.assert_allclose(np.square(vectors[used]).mean(0), 1, rtol=1e-4)


def network(name: str, real_data: Path) -> Data:
    if name == "amazon_photo":
        content = np.load(real_data / name / "Photo" / "raw" / "amazon_electronics_photo.npz", allow_pickle=False)
        shape = tuple(content["adj_shape"])
        adjacency = sparse.csr_array((content["adj_data"], content["adj_indices"], content["adj_indptr"]), shape=shape).tocoo()
        edges = np.stack(adjacency.coords)
    else:
        file = {"facebook_page_page": "facebook_edges.csv", "github_social": "musae_git_edges.csv"}[name]
        edges = pd.read_csv(real_data / name / file).to_numpy().T
    return Data(edge_index=torch.from_numpy(np.ascontiguousarray(edges)).long(), num_nodes=int(edges.max()) + 1)


@pytest.mark.parametrize(
    "data",
    [
        graph([], 0),
        graph([], 1),
        graph([], 700),
        graph([(3, 3)], 4),
        graph([(node, node + 1) for node in range(0, 1200, 2)], 1201),
        graph([(0, node) for node in range(1, 150)], 150),
        graph([(0, node) for node in range(1, 700)], 700),
        Data(num_nodes=3),
    ],
    ids=["empty", "one-node", "no-edges", "self-loop", "many-fragments", "star", "large-star", "no-edge-index"],
)
def test_any_graph_twice(data: Data) -> None:
    data.x = torch.arange(float(data.num_nodes))
    first, second = (AddLaplacian(5)(data.clone()) for _ in range(2))
    for name in ("laplacian_pe", "laplacian_values_pe"):
        assert first[name].shape == (data.num_nodes, 5)
        assert first[name].isfinite().all()
        assert torch.equal(first[name], second[name])
    assert torch.equal(first.x, data.x)


def test_the_same_bits_for_any_number_of_threads() -> None:
    graphs = [nx.barabasi_albert_graph(3000, 3, seed=0), nx.random_labeled_tree(9000, seed=0), nx.cycle_graph(400)]
    found = []
    for number in (1, 2):
        with threads(number), threadpool_limits(number):
            assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {number}
            found.append([AddLaplacian(8)(from_networkx(made)).laplacian_pe for made in graphs])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_options_out_of_range() -> None:
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        AddLaplacian(0)
    with pytest.raises(InputError, match="normalisation must be one of symmetric, random_walk, got 'rw'"):
        AddLaplacian(2, "rw")
    with pytest.raises(InputError, match=r"data.strength must hold one weight for each of 1 edges"):
        AddLaplacian(2, weight="strength")(graph([(0, 1)], 2))
    assert repr(AddLaplacian(3)) == "AddLaplacian(k=3, normalisation='symmetric', weight=None)"


def test_flip_signs_flips_whole_eigenvectors_of_each_graph() -> None:
    vectors, batch = torch.arange(1.0, 13).reshape(6, 2), torch.tensor([1, 0, 1, 0, 1, 1])
    signs = set()
    for seed in range(200):
        flipped = flip_signs(vectors, batch, torch.Generator().manual_seed(seed))
        sign = flipped / vectors
        assert all(torch.equal(sign[batch == g], sign[batch == g][:1].expand(int((batch == g).sum()), 2)) for g in (0, 1))
        signs.add(tuple(sign[[1, 0]].flatten().tolist()))
    assert len(signs) == 16  # two graphs, two eigenvectors, each on its own
    assert flip_signs(vectors[:0], batch[:0]).shape == (0, 2)
