"""The parameters of the estimators, declared once: constructors, `get_params`, checks and `--config` files read them here.

A `--config` file is checked against the annotations; `check_params` checks the limits that `count`, `fraction`,
`share`, `share_or_one` and `at_least_zero` set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import Any

from graphattn.errors import InputError

# The parameters that name what a model knows of structure, as `structure_transform` and `GraphTransformer` take them.
STRUCTURE_OPTIONS = ("encodings", "biases", "extra_edges")
PRECISIONS = ("32-true", "bf16-mixed")
ON_ERROR = ("mean", "nan", "raise")
# The largest sizes that are tried: beyond them nothing is learnt, and building the model alone takes minutes or all memory.
MOST = {"channels": 16_384, "num_layers": 1_000, "heads": 1_024, "ensemble": 100, **dict.fromkeys(STRUCTURE_OPTIONS, 10_000)}
# Parameters that say how to compute on this machine, and are not part of what was trained.
OF_THE_MACHINE = ("device", "precision", "n_jobs")
# With the folder that a model started from, which need not be there later.
NOT_SAVED = (*OF_THE_MACHINE, "init")
# The parameters that the body of a model, all but its head, is made from.
BODY = ("channels", "num_layers", "heads", "attention", "attention_score", "normaliser", *STRUCTURE_OPTIONS)


def count(default: int) -> Any:
    """A whole number of at least 1."""
    return field(default=default, metadata={"limit": "count"})


def fraction(default: float) -> Any:
    """A number in [0, 1)."""
    return field(default=default, metadata={"limit": "fraction"})


def share(default: float) -> Any:
    """A number in (0, 1)."""
    return field(default=default, metadata={"limit": "share"})


def share_or_one(default: float) -> Any:
    """A number in (0, 1]."""
    return field(default=default, metadata={"limit": "share_or_one"})


def at_least_zero(default: float) -> Any:
    """A number that is not negative."""
    return field(default=default, metadata={"limit": "at_least_zero"})


@dataclass(kw_only=True, eq=False, repr=False)
class EstimatorParams:
    """The parameters that all estimators have."""

    channels: int = count(64)
    num_layers: int = count(2)
    heads: int = count(8)
    attention: str | Sequence[str] = "masked"
    attention_score: str = "dot"
    normaliser: str = "softmax"
    encodings: Mapping[str, int] | None = None
    biases: Mapping[str, int] | None = None
    extra_edges: Mapping[str, int] | None = None
    dropout: float = fraction(0.1)
    epochs: int = count(50)
    learning_rate: float = 1e-3
    weight_decay: float = at_least_zero(0.01)
    ema_decay: float = fraction(0.0)
    patience: int = count(30)
    loss: str | None = None
    metric: str | None = None
    class_weight: str | Mapping[str, float] | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "32-true"


@dataclass(kw_only=True, eq=False, repr=False)
class MoleculeParams(EstimatorParams):
    """Those of an estimator of molecules."""

    channels: int = count(128)
    num_layers: int = count(4)
    readout: str = "mean+max+std+attention"
    batch_size: int = count(32)
    ensemble: int = count(1)
    init: str | Path | None = None
    layer_decay: float = share_or_one(1.0)
    learning_rate: float = 5e-4
    ema_decay: float = fraction(0.998)
    valid_fraction: float = fraction(0.1)
    interval: float = share(0.9)
    on_error: str = "mean"
    n_jobs: int | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class NodeParams(EstimatorParams):
    """Those of an estimator of nodes."""

    dropout: float = fraction(0.5)
    attention_dropout: float = fraction(0.0)
    epochs: int = count(200)
    learning_rate: float = 5e-3
    patience: int = count(50)


# By the name of the source.
PARAMS: dict[str, type[EstimatorParams]] = {"molecules": MoleculeParams, "nodes": NodeParams}


def check_params(params: EstimatorParams) -> None:
    """Checks the parameters that nothing below `fit` would refuse in a sentence.

    Raises:
        InputError: naming the parameter, what it is and what it must be.
    """
    from graphattn.structure import structure_transform

    if not isinstance(params.seed, Integral) or not 0 <= params.seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 up, got {params.seed!r}")
    limits: dict[str, list[str]] = {"count": [], "fraction": [], "share": [], "share_or_one": [], "at_least_zero": []}
    for each in fields(params):
        if "limit" in each.metadata:
            limits[each.metadata["limit"]].append(each.name)
    for name in limits["count"]:
        value = getattr(params, name)
        if not isinstance(value, Integral) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    check_sizes({name: getattr(params, name, None) for name in MOST})
    if params.channels % params.heads:
        raise InputError(f"channels must be a multiple of heads, got {params.channels} and {params.heads}")
    for name in limits["fraction"]:
        if not 0 <= getattr(params, name) < 1:
            raise InputError(f"{name} must lie in [0, 1), got {getattr(params, name)!r}")
    for name in limits["share"]:
        if not 0 < getattr(params, name) < 1:
            raise InputError(f"{name} must lie between 0 and 1, got {getattr(params, name)!r}")
    for name in limits["share_or_one"]:
        if not 0 < getattr(params, name) <= 1:
            raise InputError(f"{name} must lie in (0, 1], got {getattr(params, name)!r}")
    if isinstance(params, MoleculeParams) and params.on_error not in ON_ERROR:
        raise InputError(f"on_error must be one of {', '.join(ON_ERROR)}, got {params.on_error!r}")
    for name in limits["at_least_zero"]:
        if not getattr(params, name) >= 0:
            raise InputError(f"{name} must not be negative, got {getattr(params, name)!r}")
    structure_transform(*(getattr(params, name) for name in STRUCTURE_OPTIONS))


def check_sizes(options: Mapping[str, Any]) -> None:
    """Checks that no size of a model is absurd, before anything is built.

    Args:
        options: parameters of an estimator, or options of `GraphTransformer`.

    Raises:
        InputError: naming the parameter, what it is and the most that it may be.
    """
    for name, most in MOST.items():
        value = options.get(name)
        if name in STRUCTURE_OPTIONS and not isinstance(value or {}, Mapping):
            raise InputError(f"{name} must be a mapping, name → number, got {shown(value)}")
        sizes = {f"{name}: {key}": size for key, size in value.items()} if isinstance(value, Mapping) else {name: value}
        for what, size in sizes.items():
            if isinstance(size, (int, float)) and not size <= most:
                raise InputError(f"{what} must be at most {most:,}, got {shown(size)}")


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of so many digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:60] + "…"


def shared_model_options(params: EstimatorParams, encodings: Mapping[str, int]) -> dict[str, Any]:
    """The options of `GraphTransformer` that do not depend on the source; `encodings` is the default."""
    return {
        "channels": params.channels,
        "num_layers": params.num_layers,
        "heads": params.heads,
        "attention": params.attention if isinstance(params.attention, str) else list(params.attention),
        "score": params.attention_score,
        "normaliser": params.normaliser,
        "encodings": dict(encodings if params.encodings is None else params.encodings),
        "biases": dict(params.biases or {}),
        "extra_edges": dict(params.extra_edges or {}),
        "dropout": params.dropout,
    }
