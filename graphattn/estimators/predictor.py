"""A trained model with its source and its task: what `fit` leaves, what a folder holds, and all that predicting needs.

It imports neither scikit-learn nor lightning-fabric, which together take as long to import as everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch

from graphattn.errors import InputError
from graphattn.estimators.device import find_device
from graphattn.estimators.kinds import KINDS
from graphattn.estimators.params import PARAMS, check_params, check_sizes
from graphattn.estimators.persist import CONFIG_FILE, WEIGHTS_FILE, load_config, load_weights, plain
from graphattn.estimators.sources import SOURCES, Source
from graphattn.nn import GraphTransformer
from graphattn.train import Task, find_task
from graphattn.uncertainty import Noise, Temperature

AnySource = TypeVar("AnySource", bound=Source)


class Said(NamedTuple):
    """What a predictor says of some rows.

    Args:
        outputs: [rows, out_channels], NaN where there is nothing: the mean of the models, of classes calibrated.
        of_models: what each model says by itself, [models, rows, out_channels].
        columns: what else is known of each row, name → [rows].
        errors: row → why there is nothing.
    """

    outputs: np.ndarray
    of_models: np.ndarray
    columns: dict[str, Any]
    errors: dict[int, str]


@dataclass
class Predictor(Generic[AnySource]):
    """A source, a task, and the models between them: one, or those of an ensemble.

    Args:
        estimator: name of the estimator's class.
        params: its parameters, but for those of the machine.
        source, task, models: its parts.
        noise: of regression, fitted on validation rows, see `graphattn.estimators.trust`.
        temperature: of classification, likewise.
    """

    estimator: str
    params: dict[str, Any]
    source: AnySource
    task: Task
    models: list[GraphTransformer]
    noise: Noise | None = None
    temperature: Temperature | None = None

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return next(self.models[0].parameters()).device

    def config(self) -> dict[str, Any]:
        """All that is needed to make it again but the weights, as JSON."""
        parts: dict[str, Any] = {"estimator": self.estimator, "params": self.params, "model": self.source.model_options}
        if self.noise is not None:
            parts["noise"] = self.noise.config()
        if self.temperature is not None:
            parts["temperature"] = self.temperature.value
        return plain({**parts, **self.source.pack(self.task)})


def load_predictor(folder: Path, device: str = "auto", *, n_jobs: int | None = None) -> Predictor[Any]:
    """Reads what `save_pretrained` or a run wrote.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    config = load_config(folder)
    path = folder / CONFIG_FILE
    name = str(config["estimator"])
    if name not in KINDS:
        raise InputError(f"{path} holds a {name!r}; known are {', '.join(KINDS)}")
    kind = KINDS[name]
    try:
        params, options = dict(config["params"]), dict(config["model"])
        check_params(PARAMS[kind.source](**params))  # which refuses names that it does not have
        check_sizes(options)
        source, task = SOURCES[kind.source](options, n_jobs), find_task(kind.task)()
        source.check(config)
        task.restore(source.unpack(config), options["out_channels"])
        noise = Noise.restore(config["noise"]) if "noise" in config else None
        temperature = Temperature.restore(config["temperature"]) if "temperature" in config else None
        # Without memory or random weights: whatever the config says, what is read is what the file of weights holds.
        with torch.device("meta"):
            models = [GraphTransformer(**options) for _ in range(params.get("ensemble", 1))]
    except InputError as error:
        raise InputError(f"{path} is damaged: {_short(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__} {_short(error)}") from None
    kept = load_weights(folder, models)
    try:
        source.restore_tensors(kept)
    except (KeyError, InputError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE} is damaged: {_short(error)}") from None
    placed = [model.to(find_device(device)).eval() for model in models]
    return Predictor(name, params, source, task, placed, noise, temperature)


def _short(error: Exception) -> str:
    """What an error says, in one line: a damaged value may be of any length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + "…"
