"""Models of a network as it is later: nodes and edges come and go, and other networks are told apart."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from graphattn.errors import InputError
from graphattn.estimators import NodeClassifier
from graphattn.estimators.sources.positions import Positions
from graphattn.structure import AddLaplacian

NODES = 400
COMMUNITIES = 4


def friends(seed: int, nodes: int = NODES) -> Data:
    """People in four communities: a chance of 8 % to know somebody of one's own, 1 % of another."""
    draw = np.random.default_rng(seed)
    y = np.repeat(np.arange(COMMUNITIES), nodes // COMMUNITIES)
    known = np.triu(draw.random((nodes, nodes)) < np.where(y[:, None] == y, 0.08, 0.01), 1)
    return network(np.stack(np.nonzero(known)), y, np.arange(nodes))


def network(edges: np.ndarray, y: np.ndarray, ids: np.ndarray) -> Data:
    """Edges once each."""
    edge_index = to_undirected(torch.from_numpy(edges.astype(np.int64)), num_nodes=len(y))
    return Data(edge_index=edge_index, y=torch.from_numpy(y), num_nodes=len(y), ids=[f"person {name}" for name in ids])


def changed(data: Data, how: str, seed: int) -> Data:
    """The same network with 5 % of nodes or edges more, or fewer."""
    draw = np.random.default_rng(seed)
    source, target = data.edge_index.numpy()
    edges, y, ids = np.stack([source, target])[:, source < target], data.y.numpy(), np.arange(len(data.y))
    if how == "fewer edges":
        return network(edges[:, draw.random(edges.shape[1]) > 0.05], y, ids)
    if how == "more edges":
        return network(np.concatenate([edges, draw.integers(0, NODES, (2, edges.shape[1] // 20))], 1), y, ids)
    if how == "fewer nodes":
        left = np.flatnonzero(draw.random(NODES) > 0.05)
        place = np.full(NODES, -1)
        place[left] = np.arange(len(left))
        edges = place[edges]
        return network(edges[:, (edges >= 0).all(0)], y[left], left)
    joined = [edges]
    for new in range(NODES, NODES + NODES // 20):  # eight acquaintances in one's own community, three anywhere
        own = draw.integers(0, COMMUNITIES)
        others = np.concatenate([draw.choice(np.flatnonzero(y[:NODES] == own), 8), draw.integers(0, NODES, 3)])
        joined.append(np.stack([others, np.full(11, new)]))
        y = np.append(y, own)
    return network(np.concatenate(joined, 1), y, np.arange(len(y)))


def trained(seed: int, data: Data, **parameters) -> tuple[NodeClassifier, np.ndarray]:
    """A model trained on two fifths of the nodes, and the numbers of the last two fifths."""
    order = np.random.default_rng(seed).permutation(NODES)
    train, valid, test = order[:160], order[160:240], order[240:]
    return NodeClassifier(seed=seed, **parameters).fit(data, train, valid), test


@pytest.fixture(scope="module", params=range(5))
def seed(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def fitted(seed: int) -> tuple[Data, NodeClassifier, np.ndarray]:
    data = friends(seed)
    return data, *trained(seed, data)


@pytest.mark.parametrize("how", ["fewer edges", "more edges", "fewer nodes", "more nodes"])
def test_a_network_that_changes_a_little_changes_the_accuracy_little(fitted, seed, how):
    data, estimator, test = fitted
    before = estimator.score(data, test)
    assert before > 0.93
    later = changed(data, how, seed + 100)
    names = {f"person {node}" for node in test}
    same = np.array([name in names for name in later.ids])
    assert estimator.score(later, same) >= before - 0.02
    if how == "more nodes":
        assert estimator.score(later, np.arange(NODES, later.num_nodes)) >= 0.9


@pytest.mark.parametrize("columns", [1, 5])
def test_features_that_say_nothing_do_not_hide_the_structure(columns):
    data = friends(0)
    data.x = torch.from_numpy(np.random.default_rng(0).standard_normal((NODES, columns))).float()
    estimator, test = trained(0, data)
    assert estimator.model_options_["encodings"] == {"degree": 1, "laplacian": 8}  # as without features
    assert estimator.score(data, test) > 0.95


@pytest.fixture(scope="module")
def one() -> tuple[Data, NodeClassifier, np.ndarray]:
    data = friends(0)
    return data, *trained(0, data, epochs=30)


def test_the_network_of_training_gets_the_very_values_of_training(one):
    data, estimator, _ = one
    assert np.array_equal(
        estimator.predict_proba(data), estimator._fitted.source.outputs(*_model(estimator), _first_inputs(data, estimator))
    )


def _model(estimator):
    return estimator._fitted.models[0], estimator.task_


def _first_inputs(data, estimator):
    return estimator.make_source(data).inputs(data, torch.device("cpu"))


def test_nodes_are_known_by_ids_in_any_order(one):
    data, estimator, _ = one
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(order)
    place[order] = torch.arange(NODES)
    other = Data(edge_index=place[data.edge_index], num_nodes=NODES, ids=[data.ids[node] for node in order.tolist()])
    np.testing.assert_allclose(estimator.predict_proba(other), estimator.predict_proba(data)[order], atol=1e-5)
    del other.ids
    with pytest.raises(InputError, match=r"data\.ids must name the nodes"):
        estimator.predict(other)


def test_without_ids_nodes_are_known_by_number_if_their_edges_agree():
    data = friends(0)
    del data.ids
    estimator, test = trained(0, data, epochs=30)
    before = estimator.predict_proba(data)
    later = changed(friends(0), "more nodes", 0)
    del later.ids
    assert estimator.score(later, test) > 0.9
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(0))
    other = Data(edge_index=order[data.edge_index], num_nodes=NODES)
    with pytest.warns(UserWarning, match="400 of 400 nodes have an id or number of it, and their edges are others"):
        estimator.predict(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(estimator.predict_proba(data), before)


def test_another_network_is_said_to_be_one(one):
    _, estimator, _ = one
    strangers = friends(7)
    strangers.ids = [f"stranger {node}" for node in range(NODES)]
    with pytest.warns(UserWarning, match="0 of 400 nodes.*positions .laplacian_pe, laplacian_values_pe. hold for that network"):
        estimator.predict(strangers)
    namesakes = friends(7)  # the ids of training by chance, as numbers are
    with pytest.warns(UserWarning, match="400 of 400 nodes"):
        estimator.predict(namesakes)


def test_a_model_with_features_does_without_positions_on_another_network():
    def noisy(seed: int) -> Data:
        data = friends(seed)
        data.x = 2 * torch.nn.functional.one_hot(data.y, COMMUNITIES) + torch.from_numpy(
            np.random.default_rng(seed).standard_normal((NODES, COMMUNITIES))
        )
        return data

    estimator, _ = trained(0, noisy(0))
    with pytest.warns(UserWarning, match="predictions go by features"):
        assert estimator.score(noisy(8)) > 0.9


def test_saved_positions_are_those_of_training(one, tmp_path):
    data, estimator, _ = one
    estimator.save_pretrained(tmp_path)
    again = NodeClassifier.from_pretrained(tmp_path)
    later = changed(data, "fewer nodes", 3)
    assert np.array_equal(again.predict_proba(later), estimator.predict_proba(later))


def test_positions_by_hand():
    """A path 0 – 1 – 2, and then node 3 at node 2: D = 1, 2, 2, 1, so that v₃ = v₂ / √2, and node 4 alone has 0."""
    path = Data(edge_index=to_undirected(torch.tensor([[0, 1], [1, 2]])), num_nodes=3)
    transform = AddLaplacian(2)
    values = {name: transform(copy.copy(path))[name] for name in transform.adds}
    # L of a path of three has the eigenvalues 0, 1 and 2; the eigenvector of 1 is (1, 0, −1), scaled to norm √3.
    assert values["laplacian_pe"][:, 0].abs().tolist() == pytest.approx([1.5**0.5, 0, 1.5**0.5], abs=1e-6)
    positions = Positions.of(path, [transform], values)
    assert positions.agreement["AddLaplacian"].tolist() == pytest.approx([0, -1], abs=1e-6)  # 1 − λ
    grown = Data(edge_index=to_undirected(torch.tensor([[0, 1, 2], [1, 2, 3]])), num_nodes=5)
    found, note = positions.on(grown, [transform])
    assert note is None
    assert torch.equal(found["laplacian_pe"][:3], values["laplacian_pe"])
    assert found["laplacian_pe"][3].tolist() == pytest.approx((values["laplacian_pe"][2] / 2**0.5).tolist())
    assert found["laplacian_values_pe"].tolist() == pytest.approx(np.array([[1, 2]] * 4 + [[0, 0]]))
    assert found["laplacian_pe"][4].tolist() == [0, 0]
