"""Return probabilities of random walks on large graphs: exact, and estimated from random probes. See `AddRandomWalk`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from graphattn.structure.graphs import Graphs

# Multiplications that "auto" spends on the exact values of one graph: a few seconds on two cores.
_EXACT_WORK = 2e10
# Multiplications for the exact third and fourth step of a graph that is estimated; only enormous hubs need more.
_FOURTH_STEP_WORK = 2e9
# Probes that walk together: a row of them fills a few cache lines.
_BLOCK = 32

Matrix = tuple[np.ndarray, np.ndarray, np.ndarray]


def sparse_returns(graphs: Graphs, some: list[int], steps: int, method: str, probes: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The nodes of some graphs and their return probabilities, [nodes, steps]; the arguments are those of `AddRandomWalk`."""
    adjacency = _adjacency(graphs)
    for graph in some:
        own = slice(int(graphs.ptr[graph]), int(graphs.ptr[graph + 1]))
        yield own, _returns_of_graph(adjacency[own][:, own], steps, method, probes)


def _returns_of_graph(adjacency: sparse.csr_array, steps: int, method: str, probes: int) -> np.ndarray:
    """The return probabilities of one graph, [nodes, steps]."""
    work = adjacency.nnz * adjacency.shape[0] * steps / 2
    few = adjacency.shape[0] <= probes or work <= _EXACT_WORK
    exact = method == "exact" or (method == "auto" and few)
    degree = adjacency.sum(1)
    # A node that nothing leaves is on no way back: without the edges into it the rest is the same.
    root = np.zeros_like(degree)
    np.divide(1, np.sqrt(degree), out=root, where=degree > 0)
    walk = adjacency.tocoo()
    # The two roots first: their product is the same in both directions, so that a symmetric matrix stays so to the bit.
    walk.data = walk.data * (root[walk.row] * root[walk.col])
    walk = walk.tocsr()
    return exact_returns(walk, steps) if exact else estimated_returns(walk, degree, steps, probes)


def exact_returns(walk: sparse.csr_array, steps: int) -> np.ndarray:
    """The diagonals of the powers 1 … `steps` of a matrix, [nodes, steps].

    The unit vectors as probes: Σ_e (S^a e)_i (Sᵀ^b e)_i = (S^{a+b})_ii.
    """
    num_nodes = walk.shape[0]

    def units() -> Iterator[np.ndarray]:
        for first in range(0, num_nodes, _BLOCK):
            width = min(_BLOCK, num_nodes - first)
            block = np.zeros((num_nodes, width))
            block[np.arange(first, first + width), np.arange(width)] = 1
            yield block

    return _sum_over_probes(walk, units(), steps)


def estimated_returns(walk: sparse.csr_array, degree: np.ndarray, steps: int, probes: int) -> np.ndarray:
    """An estimate of the same from so many random probes; see `AddRandomWalk`.

    Args:
        walk: D^-½ A D^-½, [nodes, nodes].
        degree: D, [nodes].
        steps: the number of powers.
        probes: the number of vectors of signs.
    """
    num_nodes = walk.shape[0]
    limit, constant = np.zeros(num_nodes), None
    if _is_symmetric(walk):
        count, component = connected_components(walk, directed=False)
        volume = np.bincount(component, degree, minlength=count)[component]
        np.divide(degree, volume, out=limit, where=volume > 0)
        # Eigenvectors of the eigenvalue 1, one for each component, as rows.
        constant = sparse.csr_array((np.sqrt(limit), (component, np.arange(num_nodes))), shape=(count, num_nodes))
        constant = constant.astype(np.float32)

    def signs() -> Iterator[np.ndarray]:
        for first in range(0, probes, _BLOCK):
            width = min(_BLOCK, probes - first)
            bits = np.random.default_rng([0, first]).integers(0, 2, (num_nodes, width), dtype=np.int8)
            block = (2 * bits - 1) * np.float32(probes**-0.5)
            yield block if constant is None else block - constant.T @ (constant @ block)

    out = _sum_over_probes(walk.astype(np.float32), signs(), steps) + limit[:, None]
    known = _first_steps(walk)[:, :steps]
    out[:, : known.shape[1]] = known
    return np.clip(out, 0, 1)


def _first_steps(walk: sparse.csr_array) -> np.ndarray:
    """The exact diagonals of the first four powers, or of two where four are too much work."""
    back = walk.T.tocsr()
    two = np.stack([walk.diagonal(), walk.multiply(back).sum(1)], 1)
    if np.diff(walk.indptr) @ np.diff(back.indptr).astype(np.float64) > _FOURTH_STEP_WORK:
        return two
    return np.concatenate([two, _third_and_fourth(_parts(walk), _parts(back))], 1)


def _adjacency(graphs: Graphs) -> sparse.csr_array:
    """The weights of all graphs, those of multi-edges added up."""
    source, target = graphs.edge_index.cpu().numpy()
    weights = graphs.weights.cpu().numpy()
    matrix = sparse.csr_array((weights, (source, target)), shape=(graphs.num_nodes, graphs.num_nodes))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _sum_over_probes(walk: sparse.csr_array, blocks: Iterator[np.ndarray], steps: int) -> np.ndarray:
    """Σ_z (S^a z)_i (Sᵀ^b z)_i for a + b = 1 … steps over all probes z, which come in blocks of columns."""
    forth, back, symmetric = _parts(walk), _parts(walk.T.tocsr()), _is_symmetric(walk)
    threads = torch.get_num_threads()
    total = np.zeros((walk.shape[0], steps))
    with ThreadPoolExecutor(threads) as pool:
        # A block for each thread at a time, so that few are in memory; added in their order, so that threads change no bit.
        for part in _in_turn(blocks, threads):
            for out in pool.map(lambda block: _returns_of_block(forth, back, symmetric, block, steps), part):
                total += out
    return total


def _in_turn(blocks: Iterator[np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
    while part := [block for _, block in zip(range(count), blocks, strict=False)]:
        yield part


@njit(nogil=True)
def _returns_of_block(forth: Matrix, back: Matrix, symmetric: bool, probes: np.ndarray, steps: int) -> np.ndarray:
    out = np.zeros((probes.shape[0], steps))
    ahead, behind = probes, probes
    for step in range(1, steps + 1):
        if step % 2:
            ahead = _multiply(forth, ahead)
        elif symmetric:
            behind = ahead
        else:
            behind = _multiply(back, behind)
        for i in range(probes.shape[0]):
            for c in range(probes.shape[1]):
                out[i, step - 1] += ahead[i, c] * behind[i, c]
    return out


@njit(nogil=True)
def _multiply(matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """A sparse matrix times a block of columns."""
    ptr, index, values = matrix
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        row = out[i]
        for edge in range(ptr[i], ptr[i + 1]):
            value, other = values[edge], x[index[edge]]
            for c in range(x.shape[1]):
                row[c] += value * other[c]
    return out


@njit(nogil=True)
def _third_and_fourth(forth: Matrix, back: Matrix) -> np.ndarray:
    """The diagonals of S³ and S⁴, [nodes, 2], from the rows of S² and of its transpose, one node at a time."""
    num_nodes = len(forth[0]) - 1
    out = np.zeros((num_nodes, 2))
    ahead, behind = np.zeros(num_nodes), np.zeros(num_nodes)
    for i in range(num_nodes):
        _add_two_steps(forth, i, ahead)
        _add_two_steps(back, i, behind)
        ptr, index, values = back
        for edge in range(ptr[i], ptr[i + 1]):
            out[i, 0] += ahead[index[edge]] * values[edge]
        out[i, 1] = _take_product(forth, i, ahead, behind)
        _take_product(back, i, behind, ahead)
    return out


@njit(nogil=True)
def _add_two_steps(matrix: Matrix, start: int, row: np.ndarray) -> None:
    ptr, index, values = matrix
    for first in range(ptr[start], ptr[start + 1]):
        j = index[first]
        for second in range(ptr[j], ptr[j + 1]):
            row[index[second]] += values[first] * values[second]


@njit(nogil=True)
def _take_product(matrix: Matrix, start: int, row: np.ndarray, other: np.ndarray) -> float:
    """The product of two rows; empties the one that `_add_two_steps` filled, each place when it is first seen."""
    ptr, index, _ = matrix
    total = 0.0
    for first in range(ptr[start], ptr[start + 1]):
        j = index[first]
        for second in range(ptr[j], ptr[j + 1]):
            total += row[index[second]] * other[index[second]]
            row[index[second]] = 0.0
    return total


def _parts(matrix: sparse.csr_array) -> Matrix:
    return matrix.indptr, matrix.indices, matrix.data


def _is_symmetric(matrix: sparse.csr_array) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(_parts(matrix), _parts(matrix.T.tocsr()), strict=True))
