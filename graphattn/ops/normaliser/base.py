"""What a normaliser is, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from graphattn.errors import InputError


@dataclass(frozen=True)
class Normaliser:
    """Turns the scores of a row into weights.

    The flags say what kernels have to do; a normaliser that only has the plain version leaves them as they are.

    Args:
        name: what `attention(normaliser=…)` and the layers take.
        function: the plain version. It takes scores [edges, heads], the target `index` [edges] of each edge and the number of
            targets `size`, and returns weights [edges, heads]. It must be differentiable, and give no NaN where a row is empty.
        sums_to_one: the weights of a row with edges sum to one.
        keeps_state: a weight is exp(s_ij − m_i) / l_i with two numbers of the row, which kernels find while they read its
            edges, and keep for backward.
        needs_delta: ∂L/∂s_ij depends on Σ_j α_ij ∂L/∂α_ij of the whole row.
        is_torch_sdpa: the weights are those of `torch.nn.functional.scaled_dot_product_attention`.
    """

    name: str
    function: Callable[[Tensor, Tensor, int], Tensor]
    sums_to_one: bool = False
    keeps_state: bool = False
    needs_delta: bool = False
    is_torch_sdpa: bool = False

    def __call__(self, scores: Tensor, index: Tensor, size: int) -> Tensor:
        return self.function(scores, index, size)


NORMALISERS: dict[str, Normaliser] = {}


def register_normaliser(normaliser: Normaliser) -> Normaliser:
    """Adds a normaliser to `NORMALISERS`: `attention`, the layers, models and estimators then take its name.

    Raises:
        InputError: where the name is taken.
    """
    if normaliser.name in NORMALISERS:
        raise InputError(f"there is a normaliser {normaliser.name!r} already; choose another name")
    NORMALISERS[normaliser.name] = normaliser
    return normaliser


def normaliser_of(name: str) -> Normaliser:
    """The normaliser of this name.

    Raises:
        InputError: on an unknown name.
    """
    normaliser = NORMALISERS.get(name)
    if normaliser is None:
        raise InputError(f"normaliser must be one of {', '.join(NORMALISERS)}, got {name!r}")
    return normaliser
