"""Eigenvectors of graph Laplacians: dense, by Lanczos iteration, and by Lanczos iteration on a factorisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, splu
from threadpoolctl import ThreadpoolController
from torch import Tensor

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs

# Nodes of a component up to which all its eigenvectors by a dense solver cost less than a few by an iteration that may fail.
_DENSE = 500
# Eigenvalues nearer than this count as equal: float64 cannot tell their eigenvectors apart to float32's precision.
_EQUAL = 1e-10
# Restarts of the plain iteration before the matrix is factorised: enough for every network whose gaps are not tiny.
_RESTARTS = 60
# Rounds in which nodes learn from their neighbours: a new node is seldom further from those that are known.
_ROUNDS = 20
# What makes L invertible. Far above rounding, and below the gaps of a path of 50,000 nodes.
_SHIFT = 1e-9

Array = np.ndarray


def laplacian_eigenvectors(graphs: Graphs, k: int, random_walk: bool) -> tuple[Tensor, Tensor]:
    """Eigenvectors and eigenvalues as `AddLaplacian` describes them, both float32, [nodes, k].

    Args:
        graphs: the graphs, with weights or without.
        k: number of eigenvectors.
        random_walk: of I − D⁻¹ W instead of I − D^-½ W D^-½.
    """
    vectors = np.zeros((graphs.num_nodes, k), dtype=np.float32)
    values = np.zeros_like(vectors)
    # A sum cut among threads is rounded otherwise.
    with _thread_pools().limit(limits=1):
        for nodes, degree, value, vector in _eigenvectors(graphs, k):
            columns = vector.shape[-1]
            if random_walk:
                vector = vector / np.sqrt(degree)[..., None]
            vectors[nodes, :columns] = _with_sign(_with_unit_size(vector))
            values[nodes, :columns] = np.maximum(value, np.finfo(np.float64).eps)[..., None, :]
    device = graphs.ptr.device
    return torch.from_numpy(vectors).to(device), torch.from_numpy(values).to(device)


def from_neighbours(graphs: Graphs, vectors: Tensor, values: Tensor, known: Tensor, random_walk: bool) -> tuple[Tensor, Tensor]:
    """Eigenvectors and eigenvalues of nodes that are not known, as `AddLaplacian.extend` describes them, [nodes, k] each."""
    given = known.cpu().numpy()[:, None]
    matrix = _symmetric(graphs)
    degree = matrix.sum(1)[:, None]
    root = np.sqrt(np.where(degree > 0, degree, 1))
    before, after = (root**2, 1.0) if random_walk else (root, root)
    start = np.where(given, vectors.double().cpu().numpy(), 0)
    level = np.where(given, values.double().cpu().numpy(), 0)
    vector, value = start, level
    for _ in range(_ROUNDS):
        vector = np.where(given, start, (matrix @ (vector / after)) / before)
        reached = matrix @ (value > 0).astype(np.float64)
        value = np.where(given, level, (matrix @ value) / np.maximum(reached, np.finfo(np.float64).tiny))
    return torch.from_numpy(vector).to(vectors), torch.from_numpy(value).to(values)


def autocorrelation(graphs: Graphs, vectors: Tensor, known: Tensor) -> Tensor:
    """The autocorrelation of each vector over the edges between known nodes, as `AddLaplacian.agreement` describes it, [k]."""
    given = np.flatnonzero(known.cpu().numpy())
    matrix = _symmetric(graphs)[given][:, given]
    degree = matrix.sum(1)[:, None]
    vector = vectors.double().cpu().numpy()[given]
    scaled = np.where(degree > 0, vector / np.sqrt(np.where(degree > 0, degree, 1)), 0)
    size = np.square(vector).sum(0)
    return torch.from_numpy((scaled * (matrix @ scaled)).sum(0) / np.where(size > 0, size, 1))


def _symmetric(graphs: Graphs) -> sparse.csr_array:
    """The weights W of `AddLaplacian`, [nodes, nodes]."""
    parts, order = _components(graphs)
    source, target = order[parts.edge_index.numpy()]
    return sparse.csr_array((parts.weights.numpy(), (source, target)), shape=(graphs.num_nodes, graphs.num_nodes))


@cache
def _thread_pools() -> ThreadpoolController:
    """The thread pools of numpy and scipy; looking for them takes longer than a molecule."""
    return ThreadpoolController().select(user_api="blas")


def _components(graphs: Graphs) -> tuple[Graphs, Array]:
    """The connected components of the symmetric graph W without self-loops, each as a graph of its own.

    Returns:
        The components side by side; and the number that each of their nodes has in `graphs`, [nodes].
    """
    nodes = graphs.num_nodes
    weight = graphs.weights.cpu().numpy()
    source, target = graphs.edge_index.cpu().numpy()
    joins = (source != target) & (weight > 0)
    source, target, weight = source[joins], target[joins], weight[joins]
    pair, pair_of = np.unique(np.concatenate([source * nodes + target, target * nodes + source]), return_inverse=True)
    if graphs.edge_weight is None:
        weight = np.ones(len(pair))
    else:
        # Where there is nothing to add up, bincount returns integers.
        weight = np.bincount(pair_of, np.concatenate([weight, weight]), len(pair)).astype(np.float64)
    # Without nodes there are no pairs to divide.
    source, target = pair // max(nodes, 1), pair % max(nodes, 1)
    # All edges go both ways, so strongly connected is connected, and takes no transpose to find.
    count, component = connected_components(_matrix(source, target, weight, nodes), connection="strong")
    order = np.argsort(component, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(nodes)
    ptr = np.concatenate([[0], np.bincount(component, minlength=count).cumsum()])
    edge_index = np.stack([place[source], place[target]])
    return Graphs(torch.from_numpy(edge_index), torch.from_numpy(ptr), torch.from_numpy(weight)), order


def _matrix(source: Array, target: Array, weight: Array, nodes: int) -> sparse.csr_array:
    """Weights as a sparse matrix, [nodes, nodes], of edges sorted by source."""
    ptr = np.searchsorted(source, np.arange(nodes + 1))
    return sparse.csr_array((weight, target, ptr), shape=(nodes, nodes))


def _eigenvectors(graphs: Graphs, k: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """At most k eigenpairs of every component of two nodes or more.

    Yields:
        For some components of n nodes at a time: their nodes [some, n], degrees [some, n], eigenvalues [some, columns] and
        eigenvectors of the symmetric Laplacian [some, n, columns]; for a large component without the first dimension.
    """
    parts, order = _components(graphs)
    # An iteration for nearly all eigenvectors is no iteration.
    dense = max(_DENSE, 4 * k)
    for _, nodes, matrices in parts.by_size(dense):
        if nodes.shape[1] > 1:
            yield order[nodes.numpy()], *_dense(matrices.numpy(), k)
    source, target = parts.edge_index.numpy()
    for start, end in pairwise(parts.ptr.tolist()):
        if end - start > dense:
            # The order of nodes in a component, and so of its edges, is that of `graphs`: still sorted by source.
            own = (source >= start) & (source < end)
            matrix = _matrix(source[own] - start, target[own] - start, parts.weights.numpy()[own], end - start)
            yield order[start:end], *_sparse(matrix, k)


def _dense(weights: Array, k: int) -> tuple[Array, Array, Array]:
    """Degrees, eigenvalues and eigenvectors of components of one size, whose weights are [some, n, n]."""
    degree = weights.sum(-1)
    root = np.sqrt(degree)
    trivial = root / np.linalg.norm(root, axis=-1, keepdims=True)
    laplacian = np.eye(weights.shape[-1]) - weights / (root[:, :, None] * root[:, None, :])
    # Eigenvalues end at 2: the trivial one goes to 3, so that it is not confused with those that are nearly zero.
    value, vector = np.linalg.eigh(laplacian + 3 * trivial[:, :, None] * trivial[:, None, :])
    value, vector = value[:, :-1], vector[:, :, :-1]
    for some in np.flatnonzero((np.diff(value[:, : k + 1]) < _EQUAL).any(-1)):
        _fix_basis(value[some], vector[some], k)
    return degree, value[:, :k], vector[:, :, :k]


def _sparse(weights: sparse.csr_array, k: int) -> tuple[Array, Array, Array]:
    """Degrees, eigenvalues and eigenvectors of one component, whose weights are [n, n]."""
    nodes = weights.shape[0]
    degree = weights.sum(1)
    root = np.sqrt(degree)
    trivial = (root / np.linalg.norm(root))[:, None]
    scale = sparse.diags_array(1 / root)
    walk = (scale @ weights @ scale).tocsr()
    try:
        top, vector = _largest(lambda x: x + walk @ x, trivial, k)
        value = 2 - top
    except ArpackNoConvergence:
        try:
            top, vector = _largest(_factorised(walk).solve, trivial, k)
            value = 1 / top - _SHIFT
        except (RuntimeError, MemoryError):
            raise InputError(
                f"data has a component of {nodes:,} nodes whose Laplacian eigenvectors could not be found; "
                "use the encodings degree or random_walk instead"
            ) from None
    _fix_basis(value, vector, k)
    return degree, value, vector


def _factorised(walk: sparse.csr_array) -> Any:
    """Factors of L + shift · I, for L = I − walk."""
    shifted = sparse.diags_array(np.full(walk.shape[0], 1 + _SHIFT)) - walk
    # Positive definite: no pivots are needed, so rows are in the order that fills in least.
    return splu(shifted.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _largest(multiply: Callable[[Array], Array], known: Array, k: int) -> tuple[Array, Array]:
    """The k largest eigenvalues, in descending order, and eigenvectors of a positive matrix on what is orthogonal to `known`.

    Lanczos iteration sees one vector of an eigenspace, and finds more by rounding alone. So it restarts on what is
    orthogonal to the vectors found, until nothing larger is left there.

    Raises:
        ArpackNoConvergence: where it does not converge.
    """
    nodes = len(known)
    # For the start vectors, and for those that the iteration draws where it has seen all that it can reach.
    generator = np.random.default_rng(0)
    value, vector = np.zeros(0), known[:, :0]
    while True:

        def project(x: Array, known: Array = known) -> Array:
            return x - known @ (known.T @ x)

        operator = LinearOperator((nodes, nodes), matvec=lambda x: project(multiply(project(x.ravel()))), dtype=np.float64)
        start = project(generator.standard_normal(nodes))
        found, new_vectors = eigsh(
            operator, k, which="LA", v0=start, ncv=2 * k + 20, maxiter=_RESTARTS, tol=1e-13, rng=generator
        )
        new = len(value) < k or found.max() > value[k - 1] * (1 + _EQUAL)
        known = np.concatenate([known, new_vectors], 1)
        value, vector = np.concatenate([value, found]), np.concatenate([vector, new_vectors], 1)
        order = np.argsort(-value, kind="stable")[:k]
        value, vector = value[order], vector[:, order]
        if not new:
            return value, vector


def _fix_basis(value: Array, vector: Array, k: int) -> None:
    """Replaces, in place, the first k eigenvectors of repeated eigenvalues by those that `AddLaplacian` describes.

    Args:
        value: eigenvalues in ascending order, [columns].
        vector: [n, columns].
    """
    bounds = np.flatnonzero(np.diff(value, prepend=-1.0, append=np.inf) >= _EQUAL).tolist()
    for start, end in pairwise(bounds):
        if end - start > 1 and start < k:
            # Rows are P eᵢ in coordinates of the given basis: everything below is the same for any basis.
            space = vector[:, start:end].copy()
            for column in range(start, min(end, k)):
                share = np.square(space).sum(1)
                direction = space[_first_largest(share, 0)]
                direction = direction / np.linalg.norm(direction)
                vector[:, column] = space @ direction
                space -= vector[:, column, None] * direction


def _with_unit_size(vector: Array) -> Array:
    """Columns of norm √n, [..., n, columns]."""
    return vector / np.sqrt(np.square(vector).mean(-2, keepdims=True))


def _with_sign(vector: Array) -> Array:
    """Columns with the sign that `AddLaplacian` describes, [..., n, columns]."""
    skew = (vector**3).mean(-2, keepdims=True)
    first = np.expand_dims(_first_largest(np.abs(vector), -2), -2)
    decides = np.where(np.abs(skew) > 1e-6, skew, np.take_along_axis(vector, first, -2))
    return np.where(decides < 0, -vector, vector)


def _first_largest(values: Array, axis: int) -> Array:
    """The place of the largest of positive values; the first of those that are equal but for rounding."""
    return np.argmax(values > values.max(axis, keepdims=True) * (1 - 1e-6), axis)
