"""Tasks: what goes out, for any source."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from graphattn.errors import InputError
from graphattn.train import TASKS, Classification, Regression, find_task


def numbers() -> Regression:
    task = Regression()
    task.learn(np.array([1.0, 2.0, 3.0, 6.0], dtype=object), np.array([]))
    return task


def classes() -> Classification:
    task = Classification()
    task.learn(np.array(["b", "a", "b"], dtype=object), np.array(["c"], dtype=object))
    return task


def test_regression_by_hand():
    task = numbers()
    assert (task.mean, task.out_channels) == (3.0, 1)
    target = torch.from_numpy(task.encode(np.array([3.0, 6.0])))
    assert target.tolist() == pytest.approx([0.0, 3 / np.sqrt(3.5)])
    raw = target.unsqueeze(1)
    assert task.predict(task.decode(raw).numpy()).tolist() == pytest.approx([3.0, 6.0])
    assert float(task.loss(raw + 2.0, target)) == pytest.approx(4.0)
    assert task.validation_scores(raw + 2.0, target) == pytest.approx((-2 * task.std,))
    name, constant = task.constant(2)
    assert (name, constant.tolist()) == ("mean", [[3.0], [3.0]])
    refitted = task.from_number(np.array([0.0, 1.0]), np.array([1.0, 3.0]), np.array([2.0]))
    assert refitted.tolist() == [[pytest.approx(5.0)]]


def test_classification_by_hand():
    task = classes()
    assert task.classes.tolist() == ["a", "b", "c"]
    assert task.encode(np.array(["c", "a"], dtype=object)).tolist() == [2, 0]
    raw = torch.tensor([[0.0, np.log(2.0), 0.0]])
    assert task.decode(raw).tolist() == [pytest.approx([0.25, 0.5, 0.25])]
    outputs = np.array([[0.2, 0.5, 0.3], [np.nan] * 3])
    assert task.predict(outputs)[0] == "b"
    assert np.isnan(task.predict(outputs)[1])
    columns = task.columns(outputs)
    assert list(columns) == task.column_names() == ["prediction", "probability_a", "probability_b", "probability_c"]
    assert columns["prediction"].tolist() == ["b", None]
    name, constant = task.constant(1)
    assert (name, constant.tolist()) == ("majority", [[pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0]])
    assert task.known(np.array(["a", "x"])).tolist() == [True, False]
    assert task.scores(np.array(["b", "x"]), outputs[[0, 0]])["accuracy"] == 0.5


def test_values_spread_along_a_path():
    """A path a – b – c – d – e with values at both ends, by the plain mean of what arrives."""

    def spread(known):
        shares = np.zeros((5, known.shape[1]))
        shares[0], shares[4] = known / known.sum(axis=1, keepdims=True)
        shares[1:3] = (0.75 * shares[0] + 0.25 * shares[4], 0.5 * (shares[0] + shares[4]))
        return shares

    said = numbers().from_spread(spread, np.array([10.0, 20.0]))
    # Nothing reaches the fourth: it gets the mean.
    assert said[:, 0].tolist() == pytest.approx([10.0, 12.5, 15.0, 15.0, 20.0])
    said = classes().from_spread(spread, np.array(["a", "b"]))
    assert said.tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]]


def test_cells_of_a_table():
    cells = pd.Series(["1.5", "x", "", "nan", " 2 "], dtype=str)
    reasons = {"not a number": 1, "empty": 1, "not finite": 1}
    assert numbers().read_cells(cells) == ([1.5, None, None, None, 2.0], reasons, [])
    assert classes().read_cells(cells) == (["1.5", "x", None, None, "2"], {"empty": 1, "missing": 1}, [])


def test_labels_written_otherwise_are_the_same_class():
    task = Classification()
    task.learn(np.array(["1", "2", "x"]), np.array([]))
    assert task.known(np.array(["1.0", "2", "3", "x", "X"], dtype=object)).tolist() == [True, True, False, True, False]
    outputs = np.eye(3)[[0, 1, 2]]
    assert task.scores(np.array(["1.0", "2.0", "x"], dtype=object), outputs)["accuracy"] == 1


def test_labels_of_a_tensor():
    values, labelled = Classification().read_tensor(torch.tensor([1, -1, 0]), ["a", "b"])
    assert (values.tolist(), labelled.tolist()) == (["b", None, "a"], [True, False, True])
    with pytest.raises(InputError, match=r"holds class 2, but data\.class_names has 2 names"):
        Classification().read_tensor(torch.tensor([2]), ["a", "b"])
    with pytest.raises(InputError, match="class_names must differ"):
        Classification().read_tensor(torch.tensor([1]), ["a", "a"])
    with pytest.raises(InputError, match="must be integers"):
        Classification().read_tensor(torch.tensor([0.5]), None)


@pytest.mark.parametrize("task", [numbers(), classes()], ids=["numbers", "classes"])
def test_what_was_learnt_survives_a_config(task):
    again = find_task(task.name)()
    again.restore(task.config(), task.out_channels)
    assert again.config() == task.config()
    assert again.out_channels == task.out_channels


def test_a_config_of_another_model():
    with pytest.raises(InputError, match="3 classes for 2 outputs"):
        Classification().restore(classes().config(), 2)


def test_an_unknown_task():
    with pytest.raises(InputError, match="task must be 'regression' or 'classification', got 'ranking'"):
        find_task("ranking")
    assert set(TASKS) == {"regression", "classification"}


def test_few_rows_of_each_class_are_fine_once_the_classes_are_known():
    task, cells = Classification(), pd.Series([f"c{row}" for row in range(30)], dtype=str)
    with pytest.raises(InputError, match="no classes"):
        task.read_cells(cells)
    task.learn(cells.to_numpy(dtype=object), np.array([]))
    assert task.read_cells(cells)[0] == cells.tolist()


def test_decimal_commas_are_said():
    values, _, notes = Regression().read_cells(pd.Series(["1,5", "2"], dtype=str, name="logd"))
    assert (values, notes) == ([1.5, 2.0], ["column 'logd': commas are read as decimal signs, as in '1,5'"])


def test_losses_of_regression_by_hand():
    target, raw = torch.tensor([0.0, 0.0]), torch.tensor([[0.2], [-1.5]])
    expected = {"mse": (0.04 + 2.25) / 2, "mae": 0.85, "huber": (0.02 + 0.5 * (1.5 - 0.25)) / 2}
    for loss, value in expected.items():
        assert float(Regression(loss).loss(raw, target)) == pytest.approx(value)


def test_metrics_of_regression_by_hand():
    target, raw = torch.tensor([0.0, 2.0]), torch.tensor([[0.0], [1.0]])
    for metric, value in {"rmse": -2 * np.sqrt(0.5), "mae": -1.0, "r2": 0.5}.items():
        task = Regression(metric=metric)
        task.mean, task.std = 0.0, 2.0
        assert task.validation_scores(raw, target)[0] == pytest.approx(value)
        assert task.smaller_is_better == (metric != "r2")


def test_metrics_of_classification():
    target, raw = torch.tensor([0, 0, 1, 1]), torch.tensor([[9.0, 1], [1, 2], [1, 3], [1, 4]])
    for metric, value in {"accuracy": 0.75, "mcc": 2 / np.sqrt(12), "roc_auc": 1.0, "balanced_accuracy": 0.75}.items():
        task = Classification(metric=metric)
        task.classes = np.array(["a", "b"])
        assert task.validation_scores(raw, target)[0] == pytest.approx(value)
    task = Classification(metric="roc_auc")
    task.classes = np.array(["a", "b"])
    with pytest.raises(InputError, match="roc_auc needs two classes, and validation rows of both"):
        task.validation_scores(raw[:2], target[:2])


@pytest.mark.parametrize(("task", "option"), [(Regression, "loss"), (Classification, "metric")])
def test_a_loss_or_a_metric_of_another_task(task, option):
    with pytest.raises(InputError, match=f"{option} must be one of .* for {task.name}, got 'hinge'"):
        task(**{option: "hinge"})


def test_weights_of_rows_by_hand():
    raw, target, weight = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0]), torch.tensor([0.5, 1.5])
    assert float(Regression().loss(raw, target, weight)) == pytest.approx((0.5 * 1 + 1.5 * 9) / 2)
    assert float(Regression("mae").loss(raw, target, torch.ones(2))) == pytest.approx(2.0)


def test_weights_of_classes_by_hand():
    values = np.array(["b", "a", "b", "b"], dtype=object)
    raw, target = torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([0, 1])
    of_rows = torch.nn.functional.cross_entropy(raw, target, reduction="none")
    for given, weights in {"balanced": [2.0, 4 / 6]}.items():
        task = Classification(class_weight=given)
        task.learn(values, values[:0])
        assert float(task.loss(raw, target)) == pytest.approx(float((torch.tensor(weights) * of_rows).mean()))
    task = Classification(class_weight={"b": 3})
    task.learn(values, values[:0])
    assert float(task.loss(raw, target, torch.tensor([1.0, 0.5]))) == pytest.approx(float((of_rows[0] + 1.5 * of_rows[1]) / 2))
    assert task.validation_scores(raw, target)[1] == pytest.approx(-float(of_rows.mean()))  # scores are not weighted


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("equal", "class_weight must be 'balanced' or class"),
        ({"a": -1}, "finite numbers that are not negative, got -1 for 'a'"),
        ({"z": 1}, "has the class 'z', which is not there; there are a, b"),
    ],
)
def test_bad_weights_of_classes(class_weight, message):
    with pytest.raises(InputError, match=message):
        Classification(class_weight=class_weight).learn(np.array(["a", "b"], dtype=object), np.array([], dtype=object))
    with pytest.raises(InputError, match="class_weight is for classification"):
        Regression(class_weight=class_weight)
