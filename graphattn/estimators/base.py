"""What the estimators share: the device, the seed, and the way to disk."""

from __future__ import annotations

import contextlib
import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lightning_fabric import Fabric
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from graphattn.errors import InputError
from graphattn.estimators.persist import CONFIG_FILE, load_config, load_weights, save_model
from graphattn.nn import GraphTransformer
from graphattn.train import TrainOptions
from graphattn.transforms import structure_transform

# The parameters that name what a model knows of structure, as `structure_transform` and `GraphTransformer` take them.
STRUCTURE_OPTIONS = ("encodings", "biases", "extra_edges")


class GraphEstimator(BaseEstimator):
    """Base of the estimators: parameters are stored as given, as scikit-learn's `clone` needs; `fit` makes the rest."""

    device: str
    precision: str
    seed: int
    model_: GraphTransformer
    model_options_: dict[str, Any]
    history_: list[dict[str, float]]
    earlier_seconds_: float

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `model.safetensors` and `config.json`, all that `from_pretrained` needs.

        Raises:
            NotFittedError: before `fit`.
        """
        save_model(Path(folder), self.config(), self.model_)

    def config(self) -> dict[str, Any]:
        """All that is needed to make the estimator again but its weights, as JSON.

        Raises:
            NotFittedError: before `fit`.
        """
        self._check_fitted()
        parts = {"estimator": type(self).__name__, "params": self._params(), "model": self.model_options_}
        return plain({**parts, **self._extra_config()})

    def _params(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_params().items() if name not in _OF_THE_MACHINE}

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
        try:
            estimator = cls(**config["params"], device=device)
            estimator.model_options_ = config["model"]
            estimator._restore(config)
            # Without memory or random weights: whatever the config says, what is read is what the file of weights holds.
            with torch.device("meta"):
                model = GraphTransformer(**config["model"])
        except InputError as error:
            raise InputError(f"{path / CONFIG_FILE} is damaged: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(f"{path / CONFIG_FILE} is damaged: {type(error).__name__} {error}") from None
        load_weights(path, model, config.get("weights_sha256"))
        estimator.model_ = model.to(estimator._fabric().device).eval()
        return estimator

    @abstractmethod
    def _extra_config(self) -> dict[str, Any]:
        """What `_restore` needs beyond the parameters and the model's options, as JSON."""

    @abstractmethod
    def _restore(self, config: dict[str, Any]) -> None:
        """Takes from a config what `_extra_config` put there."""

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit or from_pretrained first")

    def check_params(self) -> None:
        """Checks the parameters that nothing below `fit` would refuse in words.

        Raises:
            InputError: naming the parameter, what it is and what it must be.
        """
        params = self.get_params()
        if not isinstance(self.seed, Integral) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be a whole number from 0 up, got {self.seed!r}")
        for name in _COUNTS:
            value = params.get(name, 1)
            if not isinstance(value, Integral) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
        if isinstance(params["heads"], Integral) and params["channels"] % params["heads"]:
            raise InputError(f"channels must be a multiple of heads, got {params['channels']} and {params['heads']}")
        for name in ("dropout", "attention_dropout", "valid_fraction"):
            if not 0 <= params.get(name, 0.0) < 1:
                raise InputError(f"{name} must lie in [0, 1), got {params[name]!r}")
        if not params["weight_decay"] >= 0:
            raise InputError(f"weight_decay must not be negative, got {params['weight_decay']!r}")
        for option in STRUCTURE_OPTIONS:
            if not isinstance(params[option] or {}, Mapping):
                raise InputError(f"{option} must be a mapping, name → number, got {params[option]!r}")
            for name, number in (params[option] or {}).items():
                if not isinstance(number, Integral) or number < 1:
                    raise InputError(f"{option} {name!r} must be a whole number of at least 1, got {number!r}")
        structure_transform(*(params[option] for option in STRUCTURE_OPTIONS))

    def _fabric(self) -> Fabric:
        kind, _, number = str(self.device).partition(":")
        if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
            raise InputError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {self.device!r}")
        there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind, 1)
        if int(number or 0) >= there:
            raise InputError(f"device {self.device!r} was asked for, but torch does not find it here; use 'cpu' or 'auto'")
        if self.precision not in _PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(_PRECISIONS)}, got {self.precision!r}")
        return Fabric(accelerator=kind, devices=[int(number)] if number else 1, precision=self.precision)

    def _train_options(self) -> TrainOptions:
        return TrainOptions(**{name: getattr(self, name) for name in ("epochs", "learning_rate", "weight_decay", "patience")})


_PRECISIONS = ("32-true", "bf16-mixed")
_COUNTS = ("channels", "num_layers", "heads", "epochs", "patience", "batch_size")
# Parameters that say how to compute here, and are not part of what was trained.
_OF_THE_MACHINE = ("device", "precision", "n_jobs")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's random numbers from a seed and its repeatable algorithms inside, and both as they were before outside."""
    # With several threads the gradient of indexing otherwise adds in whatever order the threads arrive.
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def digest(*parts: object) -> str:
    """A hash of data and options, by which a run is known again."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode(errors="backslashreplace"))
    return state.hexdigest()


def plain(value: Any) -> Any:
    """The same with numpy's numbers and tuples as JSON has them."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def check_classes(classes: np.ndarray, model_options: dict[str, Any]) -> None:
    """Raises InputError where a config has another number of classes than its model has outputs."""
    if len(classes) != model_options["out_channels"]:
        raise InputError(f"it has {len(classes)} classes for {model_options['out_channels']} outputs")


def pack_classes(classes: np.ndarray) -> dict[str, Any]:
    """Class labels as JSON."""
    return {"kind": classes.dtype.kind, "values": classes.tolist()}


def unpack_classes(packed: dict[str, Any]) -> np.ndarray:
    """The inverse of `pack_classes`."""
    dtypes = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64, "U": str, "O": object}
    return np.array(packed["values"], dtype=dtypes[packed["kind"]])
