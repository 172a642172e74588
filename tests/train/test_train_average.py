"""The moving average of weights, by hand."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from graphattn.train import TrainOptions, fit
from graphattn.train.average import WeightAverage


def one_weight(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(value)
    return model


def test_by_hand() -> None:
    model = one_weight(1.0)
    average = WeightAverage(model, 0.25)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(1)  # the decay grows: 2 / 11 is less than 0.25
    assert average.state()[0].item() == pytest.approx(3 - 2 * 2 / 11)
    average.update(100)
    assert average.state()[0].item() == pytest.approx(3 - 2 * 2 / 11 * 0.25)
    with average.applied():
        assert torch.equal(model.weight, average.state()[0])
    assert model.weight.item() == 3.0


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of the model"):
        WeightAverage(one_weight(1.0), 0.5).restore([torch.zeros(2, 1)])


class Steps:
    """Raises the weight by one a step, as the gradient of its negative; validation sees the weight."""

    steps_per_epoch, score_name = 1, "rmse"

    def __init__(self, validates: bool) -> None:
        self.validates, self.seen = validates, []

    def batches(self, epoch):
        return [None]

    def loss(self, model, batch):
        return -model.weight.sum()

    def validate(self, model):
        self.seen.append(model.weight.item())
        return (model.weight.item(),) if self.validates else None


@pytest.mark.parametrize("validates", [True, False])
def test_the_average_is_validated_and_kept(validates: bool) -> None:
    model, job = one_weight(0.0), Steps(validates)
    fit(model, job, TrainOptions(epochs=3, learning_rate=1.0, ema_decay=0.9), Fabric(accelerator="cpu", devices=1))
    own, plain = one_weight(0.0), Steps(True)
    fit(own, plain, TrainOptions(epochs=3, learning_rate=1.0), Fabric(accelerator="cpu", devices=1))
    expected = 0.0
    for step, weight in enumerate(plain.seen, 1):
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * weight
        assert job.seen[step - 1] == pytest.approx(expected)
    assert model.weight.item() == pytest.approx(expected)
