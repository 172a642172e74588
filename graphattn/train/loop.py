"""One training loop for every source and task, on lightning-fabric."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.train.average import WeightAverage
from graphattn.train.checkpoint import load_checkpoint, save_checkpoint
from graphattn.train.metrics import SMALLER_IS_BETTER

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Job(Protocol):
    """What is trained: batches, loss and validation. The loop is the same for all."""

    steps_per_epoch: int
    score_name: str

    def batches(self, epoch: int) -> Iterable[Any]:
        """The training batches of an epoch, on the model's device; their order depends on the epoch number alone."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Mean loss of a batch."""

    def validate(self, model: nn.Module) -> tuple[float, ...] | None:
        """Scores of the validation part, the most important first and the larger the better; None where there is no part.

        The first is `score_name` of `graphattn.train.metrics`, with a minus where smaller is better.
        """


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained: AdamW with linear warm-up, cosine decay to zero, clipped gradients and early stopping.

    Args:
        epochs: the largest number of epochs.
        learning_rate: its peak, after the warm-up.
        weight_decay: of AdamW; biases, norms and other vectors have none.
        warmup: part of all steps in which the learning rate rises, in [0, 1).
        patience: epochs without a better validation score after which training stops.
        clip_norm: the largest norm of the gradient of all parameters together.
        layer_decay: d, in (0, 1]: the learning rate of layer l of L is d^(L + 1 − l) of that of the head, and what comes before
            the first layer counts as layer 0 (Clark et al., "ELECTRA", 2020); 1: the same for all.
        ema_decay: decay of the moving average of the weights that is validated and kept, see `WeightAverage`; 0: none.
        checkpoint_seconds: least time between two checkpoints.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.05
    patience: int = 50
    clip_norm: float = 1.0
    layer_decay: float = 1.0
    ema_decay: float = 0.0
    checkpoint_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs must be at least 1, got {self.epochs}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be positive, got {self.learning_rate}")

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0, of `total`."""
        rising = max(1, round(self.warmup * total))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


@dataclass
class EpochReport:
    """The state of a training run after an epoch.

    Args:
        epoch: epochs done.
        epochs: the largest number of epochs.
        loss: mean training loss of the epoch.
        score_name: which score is watched, e.g. "rmse".
        score: that score of the validation part; None without one.
        best: the best so far.
        history: a row an epoch: epoch, loss, learning_rate, valid_<score_name>.
        earlier_seconds: how long a resumed run had trained before.
        member, members: which model of how many in an ensemble, counted from 0.
    """

    epoch: int
    epochs: int
    score_name: str
    loss: float = math.nan
    score: float | None = None
    best: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    earlier_seconds: float = 0.0
    member: int = 0
    members: int = 1


def fit(
    model: nn.Module,
    job: Job,
    options: TrainOptions,
    fabric: Fabric,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    report: Callable[[EpochReport], None] | None = None,
) -> EpochReport:
    """Trains `model` in place and leaves it with the weights of its best validation score (the last without validation).

    With `options.ema_decay` these are averaged weights.

    With `checkpoint`, the state is written to that file during training, and training resumes from the file if it exists. The
    result is bitwise that of an uninterrupted run on the same machine with the same number of torch threads.

    Args:
        model: on any device; moved to fabric's.
        job: the batches, the loss and the validation.
        options: how to train.
        fabric: device and precision.
        checkpoint: file to resume from and to write to.
        identity: identifies the run, e.g. a hash of seed and data; a checkpoint with another identity is refused.
        report: called after every epoch.

    Raises:
        InputError: where the checkpoint cannot be read or belongs to another run.
    """
    optimizer = torch.optim.AdamW(_parameter_groups(model, options), lr=options.learning_rate)
    wrapped, optimizer = fabric.setup(model, optimizer)
    average = WeightAverage(model, options.ema_decay) if options.ema_decay else None
    progress = EpochReport(0, options.epochs, job.score_name)
    run = _run(model, options, identity)
    best_score: tuple[float, ...] | None = None
    best_epoch = 0
    best_weights: dict[str, Tensor] = {}
    if checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint)
        _refuse_other_run(checkpoint, state, run)
        try:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            if average is not None:
                average.restore(state["average"])
            torch.set_rng_state(state["random"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["random_cuda"])
            progress.epoch, progress.history, progress.earlier_seconds = state["epoch"], state["history"], state["seconds"]
            best_score = None if state["best_score"] is None else tuple(state["best_score"])
            best_epoch, best_weights = state["best_epoch"], state["best_weights"]
            _check_state(optimizer, progress, best_epoch, best_score)
            if best_weights:
                _check_weights(model, best_weights)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            what = " ".join(str(error).split())[:200]
            raise InputError(f"{checkpoint} is damaged ({type(error).__name__}: {what}); --overwrite starts again") from None

    total = options.epochs * job.steps_per_epoch
    step = progress.epoch * job.steps_per_epoch
    started = saved_at = time.monotonic()
    over = progress.epoch == options.epochs or progress.epoch - best_epoch >= options.patience
    while not over:
        wrapped.train()
        losses = []
        for batch in job.batches(progress.epoch):
            for group in optimizer.param_groups:
                group["lr"] = options.rate(step, total) * group["scale"]
            optimizer.zero_grad()
            loss = job.loss(wrapped, batch)
            fabric.backward(loss)
            fabric.clip_gradients(wrapped, optimizer, max_norm=options.clip_norm, error_if_nonfinite=False)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            if average is not None:
                average.update(step)
        wrapped.eval()
        progress.epoch += 1
        with torch.no_grad(), contextlib.nullcontext() if average is None else average.applied():
            score = job.validate(wrapped)
            if score is None or best_score is None or score > best_score:
                best_score, best_epoch = score, progress.epoch
                best_weights = {} if score is None else {name: value.clone() for name, value in model.state_dict().items()}
        progress.loss = float(torch.stack(losses).mean())
        if not math.isfinite(progress.loss):
            raise InputError(f"the training loss is {progress.loss} in epoch {progress.epoch}; a lower learning_rate helps")
        row = {"epoch": progress.epoch, "loss": progress.loss, "learning_rate": options.rate(step - 1, total)}
        if score is not None and best_score is not None:
            sign = -1 if job.score_name in SMALLER_IS_BETTER else 1
            progress.score, progress.best = sign * score[0], sign * best_score[0]
            row[f"valid_{job.score_name}"] = progress.score
        progress.history.append(row)
        if report is not None:
            report(progress)
        over = progress.epoch == options.epochs or progress.epoch - best_epoch >= options.patience
        if checkpoint is not None and (over or time.monotonic() - saved_at >= options.checkpoint_seconds):
            state = {
                "run": run,
                "epoch": progress.epoch,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": [] if average is None else average.state(),
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                "history": progress.history,
                "seconds": progress.earlier_seconds + time.monotonic() - started,
                "best_score": None if best_score is None else list(best_score),
                "best_epoch": best_epoch,
                "best_weights": best_weights,
            }
            save_checkpoint(checkpoint, state)
            saved_at = time.monotonic()
    if best_weights:
        model.load_state_dict(best_weights)
    elif average is not None:
        average.apply()
    model.eval()
    return progress


def _parameter_groups(model: nn.Module, options: TrainOptions) -> list[dict[str, Any]]:
    """Groups by depth, where that matters, and of matrices, which decay, and vectors, which do not."""
    depths = _depths(model) if options.layer_decay != 1.0 else {}
    groups: dict[int, tuple[list[nn.Parameter], list[nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(depths.get(name, 0), ([], []))[parameter.dim() <= 1].append(parameter)
    last = max(groups, default=0)
    return [
        {"params": params, "weight_decay": decay, "scale": options.layer_decay ** (last - depth)}
        for depth, (matrices, vectors) in sorted(groups.items())
        for params, decay in ((matrices, options.weight_decay), (vectors, 0.0))
    ]


def _depths(model: nn.Module) -> dict[str, int]:
    """The layer that each parameter of a model with `layers` and a `head` belongs to, counted from 1; 0 before the first."""
    layers = len(getattr(model, "layers", ()))
    found = {}
    for name, _ in model.named_parameters():
        part, _, rest = name.partition(".")
        found[name] = int(rest.partition(".")[0]) + 1 if part == "layers" else layers + 1 if part == "head" else 0
    return found


def _run(model: nn.Module, options: TrainOptions, identity: str) -> dict[str, Any]:
    """What must be the same in the run that goes on."""
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    fixed = {name: value for name, value in asdict(options).items() if name != "checkpoint_seconds"}
    return {"options": fixed, "shapes": shapes, "identity": identity}


def _check_state(
    optimizer: torch.optim.Optimizer, progress: EpochReport, best_epoch: int, best_score: tuple[float, ...] | None
) -> None:
    """Raises ValueError where training would fail on the values that a checkpoint holds, which torch takes as they come."""
    if any(type(epoch) is not int or not 0 <= epoch <= progress.epochs for epoch in (progress.epoch, best_epoch)):
        raise ValueError(f"epochs {progress.epoch!r} and {best_epoch!r}")
    if not isinstance(progress.history, list) or not isinstance(progress.earlier_seconds, (int, float)):
        raise ValueError("no history or no time")
    if best_score is not None and not all(isinstance(value, (int, float)) for value in best_score):
        raise ValueError(f"best score {best_score!r}")
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                shape = torch.Size() if name == "step" else parameter.shape
                if not isinstance(value, Tensor) or value.shape != shape:
                    raise ValueError(f"{name} of the optimizer does not fit its parameter")


def _check_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Raises ValueError where weights are not those of a model."""
    own = model.state_dict()
    if weights.keys() != own.keys() or any(weights[name].shape != value.shape for name, value in own.items()):
        raise ValueError("the best weights are not those of the model")


def _refuse_other_run(path: Path, state: dict[str, Any], run: dict[str, Any]) -> None:
    if state.get("run") != run:
        raise InputError(f"{path} is the checkpoint of a run with other options or data; give the same to resume it")
