from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from graphattn import InputError, NodeClassifier
from graphattn.train import TrainOptions

SMALL = {"channels": 16, "heads": 2, "epochs": 5}


def two_cliques(features=True, seed=0):
    """Two cliques of six with one edge between them; features are noise and one column that gives the clique."""
    graph = nx.disjoint_union(nx.complete_graph(6), nx.complete_graph(6))
    graph.add_edge(0, 6)
    y = torch.tensor([0] * 6 + [1] * 6)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (12, 8), generator=generator).float()
    x[:, 0] = y
    return Data(x=x if features else None, edge_index=from_networkx(graph).edge_index, y=y, num_nodes=12)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_small_network_is_learnt_completely(sparse):
    data = two_cliques()
    if sparse:
        data.x = data.x.to_sparse_csr()
    model = NodeClassifier(**{**SMALL, "epochs": 100}).fit(data, torch.arange(12))
    assert model.predict(data).tolist() == data.y.tolist()
    assert model.score(data) == 1.0


def test_sparse_and_dense_features_are_the_same():
    dense, sparse = two_cliques(), two_cliques()
    sparse.x = sparse.x.to_sparse_csr()
    a, b = (NodeClassifier(**SMALL).fit(data, [0, 6], [1, 7]).predict_proba(data) for data in (dense, sparse))
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_structure_alone_tells_the_sides():
    data = two_cliques(features=False)
    model = NodeClassifier(**{**SMALL, "epochs": 100}).fit(data, [3, 9])
    assert model.predict(data).tolist() == data.y.tolist()


def test_unlabelled_nodes_take_part_and_get_predictions():
    data = two_cliques()
    data.y[[1, 2, 8]] = -1
    model = NodeClassifier(**SMALL).fit(data)
    probability = model.predict_proba(data)
    assert probability.shape == (12, 2)
    assert np.isfinite(probability).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    # Their features matter to their neighbours.
    changed = two_cliques()
    changed.x[1] = 1 - changed.x[1]
    assert not np.allclose(model.predict_proba(changed)[0], probability[0])


def test_masks_of_the_data_are_the_default():
    data = two_cliques()
    train, valid = torch.zeros(12, dtype=torch.bool), torch.zeros(12, dtype=torch.bool)
    train[[0, 1, 6, 7]] = True
    valid[[2, 8]] = True
    explicit = NodeClassifier(**SMALL).fit(data, train, valid)
    data.train_mask, data.val_mask = train, valid
    implicit = NodeClassifier(**SMALL).fit(data)
    by_number = NodeClassifier(**SMALL).fit(data, np.array([0, 1, 6, 7]), [2, 8])
    for model in (implicit, by_number):
        assert np.array_equal(model.predict_proba(data), explicit.predict_proba(data))
    assert all("valid_accuracy" in row for row in explicit.history_)


def test_a_class_that_no_node_to_train_on_has():
    data = two_cliques()
    data.y[11] = 2
    model = NodeClassifier(**SMALL).fit(data, [0, 1, 6, 7], [2, 11])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(data).shape == (12, 3)


def test_features_that_are_not_numbers():
    data = two_cliques()
    data.x[3, 2] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        NodeClassifier(**SMALL).fit(data)


def test_fit_does_not_change_the_data():
    data = two_cliques()
    before = {key: value.clone() for key, value in data.to_dict().items() if isinstance(value, torch.Tensor)}
    NodeClassifier(**SMALL).fit(data).predict(data)
    assert set(data.keys()) == {*before, "num_nodes"}
    assert all(torch.equal(data[key], value) for key, value in before.items())


def test_same_seed_same_model_bitwise():
    data = two_cliques()
    first, second = (NodeClassifier(**SMALL, seed=4).fit(data).predict_proba(data) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_same_seed_same_model_bitwise_where_threads_share_the_work(backend, monkeypatch):
    """Large enough that the gradient of plain indexing is added by several threads, in the order in which they arrive."""
    monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
    generator = torch.Generator().manual_seed(0)
    nodes, edges = 4_000, 150_000
    data = Data(
        x=torch.randn(nodes, 8, generator=generator),
        edge_index=torch.randint(nodes, (2, edges), generator=generator),
        y=torch.randint(2, (nodes,), generator=generator),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (
            NodeClassifier(**{**SMALL, "epochs": 2}, seed=4).fit(data, torch.arange(nodes)).predict_proba(data)
            for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(first, second)


def test_class_numbers_may_have_gaps():
    data = two_cliques()
    data.y = data.y * 4 + 3
    model = NodeClassifier(**{**SMALL, "epochs": 100}).fit(data)
    assert model.classes_.tolist() == [3, 7]
    assert model.predict(data).tolist() == data.y.tolist()


def test_named_classes_and_a_class_with_one_member(tmp_path):
    data = two_cliques()
    data.y[11] = 2
    data.class_names = ["left", "right", "odd one"]
    model = NodeClassifier(**{**SMALL, "epochs": 100, "dropout": 0.0}).fit(data)
    assert model.predict(data).tolist() == ["left"] * 6 + ["right"] * 5 + ["odd one"]
    assert model.score(data) == 1.0
    model.save_pretrained(tmp_path)
    again = NodeClassifier.from_pretrained(tmp_path)
    assert np.array_equal(again.predict_proba(data), model.predict_proba(data))
    assert again.predict(data).tolist() == model.predict(data).tolist()


def test_another_network_with_the_same_features():
    model = NodeClassifier(**{**SMALL, "epochs": 100}).fit(two_cliques())
    other = two_cliques(seed=5)
    other = Data(x=other.x[:9], edge_index=other.edge_index[:, (other.edge_index < 9).all(0)], num_nodes=9)
    assert model.predict(other).shape == (9,)


def test_mixed_precision_trains():
    data = two_cliques()
    model = NodeClassifier(**{**SMALL, "epochs": 100}, precision="bf16-mixed").fit(data)
    assert model.predict(data).tolist() == data.y.tolist()


def test_a_checkpoint_of_other_features_or_precision_is_refused(tmp_path, monkeypatch):
    options = TrainOptions(epochs=3, learning_rate=1e-3, checkpoint_seconds=0.0)
    monkeypatch.setattr(NodeClassifier, "_train_options", lambda self: options)
    checkpoint, changed = tmp_path / "checkpoint.pt", two_cliques()
    NodeClassifier(**SMALL).fit(two_cliques(), checkpoint=checkpoint)
    changed.x[0, 1] = 1 - changed.x[0, 1]
    with pytest.raises(InputError, match="other options or data"):
        NodeClassifier(**SMALL).fit(changed, checkpoint=checkpoint)
    with pytest.raises(InputError, match="other options or data"):
        NodeClassifier(**SMALL, precision="bf16-mixed").fit(two_cliques(), checkpoint=checkpoint)


def test_it_is_a_scikit_learn_estimator():
    model = NodeClassifier(**SMALL, seed=3, encodings={"degree": 1})
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    "options",
    [
        {"attention": ["masked+sgformer", "polynormer"], "encodings": {"sign_invariant": 3}},
        {"extra_edges": {"k_hop": 2, "expander": 3, "virtual": 2}, "encodings": {"degree_bucket": 2}},
        {"attention": "masked+full", "biases": {"distance": 3, "resistance": 2}},
    ],
    ids=["linear", "edges", "biases"],
)
def test_what_is_known_of_structure_reaches_the_disk(tmp_path, options):
    data = two_cliques()
    model = NodeClassifier(**SMALL, **options).fit(data)
    model.save_pretrained(tmp_path / "model")
    again = NodeClassifier.from_pretrained(tmp_path / "model")
    assert np.array_equal(again.predict_proba(data), model.predict_proba(data))
    assert again.get_params() == model.get_params()


def without(name):
    data = two_cliques()
    data[name] = None
    return data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((without("y"),), "data.y is missing"),
        ((two_cliques(), torch.ones(5, dtype=torch.bool)), r"train_mask must have shape \[12\], got \[5\]"),
        ((two_cliques(), [0, 12]), "train_mask must hold node numbers from 0 to 11, got values from 0 to 12"),
        ((two_cliques(), [0, 1, 2]), "at least two classes to train on, got only 0"),
        ((two_cliques(), [0, 6], [99]), "valid_mask must hold node numbers from 0 to 11"),
    ],
)
def test_bad_training_input(arguments, message):
    with pytest.raises(InputError, match=message):
        NodeClassifier(**SMALL).fit(*arguments)


def test_predicting_with_other_features_is_refused():
    model = NodeClassifier(**SMALL).fit(two_cliques())
    other = two_cliques()
    other.x = other.x[:, :5]
    with pytest.raises(InputError, match="must have 8 features, as in training, got 5"):
        model.predict(other)
