"""The loop on a problem small enough to follow: a linear map."""

from __future__ import annotations

import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from graphattn.errors import InputError
from graphattn.train import TrainOptions, fit


class Line:
    """Learns y = 2x; dropout makes it use random numbers, so that a wrong resume would show."""

    steps_per_epoch = 2
    score_name = "rmse"

    def __init__(self, scores=None):
        self.x = torch.linspace(-1, 1, 8).unsqueeze(-1)
        self.scores = scores
        self.seen = []

    def batches(self, epoch):
        self.seen.append(epoch)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(epoch))
        return self.x[order].split(4)

    def loss(self, model, batch):
        return (model(batch) - 2 * batch).square().mean()

    def validate(self, model):
        if self.scores is None:
            return (-float((model(self.x) - 2 * self.x).square().mean().sqrt()),)
        return self.scores.pop(0)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.2), nn.Linear(4, 1))


@pytest.fixture
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def test_it_learns(fabric):
    model, job = make_model(), Line()
    progress = fit(model, job, TrainOptions(epochs=200, learning_rate=0.05, patience=200), fabric)
    assert progress.epoch == 200
    assert progress.best < 0.1
    assert not model.training
    # The weights of the best epoch are back in the model.
    with torch.no_grad():
        assert -job.validate(model)[0] == pytest.approx(progress.best, abs=1e-6)
    assert [row["epoch"] for row in progress.history] == list(range(1, 201))


def test_learning_rate_by_hand():
    options = TrainOptions(epochs=10, learning_rate=1.0, warmup=0.2)
    rates = [options.rate(step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)  # half-way down the cosine, 4 of 8 steps
    assert options.rate(10, 10) == pytest.approx(0.0)


def test_early_stopping_keeps_the_best_epoch(fabric):
    scores = [(-3.0,), (-1.0,), (-2.0,), (-2.0,), (-2.0,), (-0.5,)]
    progress = fit(make_model(), Line(scores), TrainOptions(epochs=50, learning_rate=0.01, patience=3), fabric)
    assert progress.epoch == 5  # the best was the second, and three more brought nothing
    assert progress.best == 1.0


def test_ties_of_the_first_score_are_broken_by_the_second(fabric):
    job = Line([(0.5, -1.0), (0.5, -0.8), (0.5, -0.9)])
    model, weights = make_model(), []
    job_batches = job.batches
    job.batches = lambda epoch: (weights.append(model[0].weight.clone()), job_batches(epoch))[1]
    fit(model, job, TrainOptions(epochs=3, learning_rate=0.01), fabric)
    assert torch.equal(model[0].weight, weights[2])  # as it was after the second epoch


def test_without_validation_the_last_weights_stay(fabric):
    job = Line([None] * 5)
    progress = fit(make_model(), job, TrainOptions(epochs=5, learning_rate=0.01, patience=2), fabric)
    assert (progress.epoch, progress.score, progress.best) == (5, None, None)
    assert "valid_rmse" not in progress.history[0]


def interrupted_at(epoch):
    def report(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("stop", [1, 4, 9])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_resumed_run_is_bitwise_an_uninterrupted_one(fabric, tmp_path, stop, ema_decay):
    options = TrainOptions(epochs=10, learning_rate=0.05, checkpoint_seconds=0.0, ema_decay=ema_decay)
    torch.manual_seed(1)
    whole, whole_job = make_model(), Line()
    expected = fit(whole, whole_job, options, fabric)

    checkpoint = tmp_path / "checkpoint.pt"
    torch.manual_seed(1)
    # The report of an epoch comes before its checkpoint: what is lost is done again.
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), Line(), options, fabric, checkpoint=checkpoint, report=interrupted_at(stop + 1))
    torch.manual_seed(99)
    resumed, job = make_model(), Line()
    progress = fit(resumed, job, options, fabric, checkpoint=checkpoint)
    assert job.seen == list(range(stop, 10))
    assert progress.history == expected.history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_checkpoint_of_another_run_is_refused(fabric, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    fit(make_model(), Line(), TrainOptions(epochs=2, learning_rate=0.05, checkpoint_seconds=0.0), fabric, checkpoint=checkpoint)
    with pytest.raises(InputError, match="other options"):
        fit(make_model(), Line(), TrainOptions(epochs=2, learning_rate=0.01), fabric, checkpoint=checkpoint)


def test_a_loss_that_is_not_finite_is_an_error(fabric):
    job = Line()
    job.loss = lambda model, batch: model(batch).mean() * math.inf
    with pytest.raises(InputError, match="training loss is"):
        fit(make_model(), job, TrainOptions(epochs=2, learning_rate=0.01), fabric)


def test_vectors_have_no_weight_decay(fabric):
    class Flat(Line):
        def loss(self, model, batch):
            return 0.0 * model(batch).sum()

    model = make_model()
    bias = model[0].bias.detach().clone()
    weight = model[0].weight.detach().clone()
    options = TrainOptions(epochs=1, learning_rate=0.1, weight_decay=0.5, warmup=0.0)
    fit(model, Flat([None]), options, fabric)
    assert torch.equal(model[0].bias, bias)
    assert (model[0].weight.abs() < weight.abs()).all()


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("learning_rate", 0.0), ("learning_rate", -1.0)])
def test_bad_options(name, value):
    with pytest.raises(InputError, match=f"{name} must be .*got {value}"):
        TrainOptions(**{"epochs": 1, "learning_rate": 0.1, name: value})


class Layered(nn.Module):
    """What a model needs for rates by layer: an input, two layers and a head, a matrix each."""

    def __init__(self):
        super().__init__()
        self.lin_in = nn.Linear(1, 1, bias=False)
        self.layers = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(2))
        self.head = nn.Linear(1, 1, bias=False)

    def forward(self, x):
        return self.head(self.layers[1](self.layers[0](self.lin_in(x))))


def test_earlier_layers_learn_more_slowly(fabric):
    """AdamW's first step is the learning rate for each weight, whatever the gradient."""
    model = Layered()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    job = Line()
    job.steps_per_epoch, job.batches, job.validate = 1, lambda epoch: [job.x], lambda model: None
    fit(model, job, TrainOptions(epochs=1, learning_rate=0.01, layer_decay=0.5), fabric)
    moved = [float((value - before[name]).abs()) for name, value in model.state_dict().items()]
    assert moved == pytest.approx([0.01 / 8, 0.01 / 4, 0.01 / 2, 0.01], rel=1e-3)
