"""What the estimators share: scikit-learn's shape around a `Predictor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from graphattn.errors import InputError
from graphattn.estimators.kinds import KINDS
from graphattn.estimators.members import Member, fit_members
from graphattn.estimators.params import NOT_SAVED, PARAMS, EstimatorParams, check_params
from graphattn.estimators.persist import CONFIG_FILE, digest, load_config, save_model
from graphattn.estimators.predictor import Predictor, load_predictor
from graphattn.estimators.sources import Source
from graphattn.nn import GraphTransformer
from graphattn.train import EpochReport, Task, TaskJob, TrainOptions, find_task

AnySource = TypeVar("AnySource", bound=Source)


class GraphEstimator(BaseEstimator, Generic[AnySource]):
    """Base of the estimators: parameters are stored as given, as scikit-learn's `clone` needs; `fit` makes the rest."""

    _source: ClassVar[type[Source]]
    predictor_: Predictor[AnySource]
    history_: list[dict[str, float]]
    earlier_seconds_: float

    @property
    def model_(self) -> GraphTransformer:
        """The trained model; of an ensemble the first."""
        return self._fitted.models[0]

    @property
    def models_(self) -> list[GraphTransformer]:
        """The trained models of the ensemble, or the one."""
        return self._fitted.models

    @property
    def model_options_(self) -> dict[str, Any]:
        """What the model was made with."""
        return self._fitted.source.model_options

    @property
    def _fitted(self) -> Predictor[AnySource]:
        if "predictor_" not in vars(self):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit or from_pretrained first")
        return self.predictor_

    @property
    def task_(self) -> Task:
        """What it predicts, and how that is scored."""
        return self._fitted.task

    def __sklearn_is_fitted__(self) -> bool:
        return "predictor_" in vars(self)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `model.safetensors` and `config.json`, all that `from_pretrained` needs.

        Raises:
            NotFittedError: before `fit`.
        """
        save_model(Path(folder), self.config(), self.models_, self._fitted.source.tensors())

    def config(self) -> dict[str, Any]:
        """All that is needed to make the estimator again but its weights, as JSON.

        Raises:
            NotFittedError: before `fit`.
        """
        return self._fitted.config()

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Makes the estimator that `save_pretrained` wrote.

        Args:
            folder: where it was written.
            device: where to compute.

        Raises:
            InputError: naming the file and what is wrong with it.
        """
        path = Path(folder)
        config = load_config(path)
        if config["estimator"] != cls.__name__:
            raise InputError(f"{path / CONFIG_FILE} holds a {config['estimator']}, not a {cls.__name__}")
        predictor = load_predictor(path, device)
        estimator = cls(**predictor.params, device=device)
        estimator.predictor_ = predictor
        return estimator

    def check_params(self) -> None:
        """Checks the parameters that nothing below `fit` would refuse in a sentence.

        Raises:
            InputError: naming the parameter, what it is and what it must be.
        """
        check_params(self._parameters)
        self.new_task()

    @property
    def _parameters(self) -> EstimatorParams:
        """The parameters by themselves, as the source reads them."""
        return PARAMS[self._source.name](**self.get_params(deep=False))

    def new_task(self) -> Task:
        """The task, before anything is learnt of the targets."""
        parameters = self._parameters
        return find_task(KINDS[type(self).__name__].task)(parameters.loss, parameters.metric, parameters.class_weight)

    def _fit(
        self,
        source: AnySource,
        task: Task,
        make_job: Callable[[torch.device, int], TaskJob],
        data: tuple[object, ...],
        checkpoint: Path | None,
        report: Callable[[EpochReport], None] | None,
        init: Sequence[Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        """Trains a new model.

        Args:
            source, task: what the model stands between.
            make_job: device and seed → what to train on.
            data: what identifies the data, for the checkpoint.
            checkpoint, report: as in `graphattn.train.fit`.
            init: weights to start from, of one model or of several, which the members take in turn.
        """
        parameters = self._parameters
        params = {each.name: getattr(parameters, each.name) for each in fields(parameters) if each.name not in NOT_SAVED}
        params = dict(sorted(params.items()))
        source.model_options["out_channels"] = task.out_channels
        count = params.get("ensemble", 1)
        data = (*data, *(tensor.numpy() for state in init or () for tensor in state.values()))
        members = [
            Member(
                number,
                count,
                source.model_options,
                make_job,
                parameters.seed + number,
                self._train_options(),
                parameters.device,
                parameters.precision,
                digest(params, number, parameters.precision, *data),
                checkpoint if checkpoint is None or not number else checkpoint.with_stem(f"{checkpoint.stem}-{number}"),
                None if init is None else init[number % len(init)],
            )
            for number in range(count)
        ]
        trained = fit_members(members, getattr(parameters, "n_jobs", None), report)
        self.predictor_ = Predictor(type(self).__name__, params, source, task, [model for model, _ in trained])
        self.history_ = [
            row if count == 1 else {"member": number, **row}
            for number, (_, progress) in enumerate(trained)
            for row in progress.history
        ]
        self.earlier_seconds_ = max(progress.earlier_seconds for _, progress in trained)

    def _train_options(self) -> TrainOptions:
        """The parameters of the loop that are parameters of the estimator; its defaults for the others."""
        names = [each.name for each in fields(TrainOptions) if hasattr(self, each.name)]
        return TrainOptions(**{name: getattr(self, name) for name in names})


class Classes:
    """What an estimator of classes has in addition."""

    _fitted: Any

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of the columns of `predict_proba`."""
        classes: np.ndarray = self._fitted.task.classes
        return classes


class Numbers:
    """What an estimator of numbers has in addition."""

    _fitted: Any

    @property
    def mean_(self) -> float:
        """The mean of the values trained on."""
        return float(self._fitted.task.mean)

    @property
    def std_(self) -> float:
        """Their standard deviation."""
        return float(self._fitted.task.std)
