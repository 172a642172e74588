"""Compiles kernels ahead of their first use, by using them once: a tiny forward and backward pass through `attention`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.attention import attention
from graphattn.ops.backends import CPU, why_not_fused
from graphattn.ops.cpu import sort, specialise, store
from graphattn.ops.linear_attention import linear_attention
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.normaliser import NORMALISERS
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import SCORES, make_score

_TYPES = {str(dtype).removeprefix("torch."): dtype for dtype in CPU.types}
# One node with so many loops that the kernels cut its row in parts: so those that merge parts are compiled as well.
_LOOPS = 3 * sort.SMALLEST_ITEM


class Form(NamedTuple):
    """What kernels are compiled for; the arguments are those of `warmup`."""

    heads: int
    channels: int
    score: str = "dot"
    normaliser: str = "softmax"
    attention: str = "masked"
    edge_dim: int | None = None
    dropout: bool = False
    dtype: str = "float32"

    def __str__(self) -> str:
        text = f"{self.heads} × {self.channels} {self.score} {self.normaliser} {self.attention} {self.dtype}"
        edges = "" if self.edge_dim is None else f", {self.edge_dim} edge channels"
        return text + edges + (", dropout" if self.dropout else "")


# The layers of our estimators have 8 heads of 8 channels on networks, and of 16 with 11 channels of bond features on molecules.
_LAYERS, _MOLECULES = ((8, 8), (8, 16)), Form(8, 16, edge_dim=11)
COMMON = (
    *(Form(*shape, score) for shape in (*_LAYERS, (4, 32), (4, 16), (1, 64)) for score in SCORES),
    *(Form(*shape, attention="full") for shape in (*_LAYERS, (4, 32), (4, 16), (1, 64))),
    *(_MOLECULES._replace(score=score) for score in SCORES),
    *(Form(*shape, score, dropout=True) for shape in _LAYERS for score in SCORES),
    *(Form(*shape, attention="full", dropout=True) for shape in _LAYERS),
    *(Form(*shape, attention="linear") for shape in _LAYERS),
)


class Warmed(NamedTuple):
    """What `warmup` did for one form: how many kernels it compiled, and in which time. The others were kept already."""

    form: Form
    compiled: int
    seconds: float


def warmup(
    heads: int | None = None,
    channels: int | None = None,
    *,
    score: str = "dot",
    normaliser: str = "softmax",
    attention: str = "masked",
    edge_dim: int | None = None,
    dropout: bool = False,
    dtype: str = "float32",
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Warmed]:
    """Compiles the fused CPU kernels of one form of attention or, without arguments, of the common ones.

    A kernel is compiled when it is first used, in some seconds, and kept in the user's cache folder for later processes
    (`graphattn.backends()` shows where). This does it ahead: one form takes some seconds, the common ones a few minutes. The
    common forms are the scores dot, additive and static with 8 × 8, 8 × 16, 4 × 32, 4 × 16 and 1 × 64 heads × channels
    under softmax in float32, those with attention dropout for the first two, linear attention, and those of our estimators'
    layers. Kernels older than the newest 256 MB are deleted.

    Args:
        heads: number of heads; None for the common forms.
        channels: channels of each head; None for the common forms.
        score: "dot", "additive" or "static".
        normaliser: "softmax", "softmax1", "sigmoid" or "relu".
        attention: "masked", "full" or "linear"; linear attention has no score, normaliser or dropout.
        edge_dim: channels of the edge features, if there are any.
        dropout: whether to compile the form with attention dropout as well.
        dtype: "float32", "float64" or "bfloat16"; under autocast the autocast dtype.
        progress: called before each form with the number of forms done and of all forms, and the form's description.

    Raises:
        InputError: on a wrong argument, or a form that has no kernels.
    """
    forms: Sequence[Form]
    if heads is not None and channels is not None:
        form = Form(heads, channels, score, normaliser, attention, edge_dim, False, dtype)
        forms = [form, form._replace(dropout=True)] if dropout else [form]
        _check(form, dropout)
    elif heads is None and channels is None:
        options = (score, normaliser, attention, edge_dim, dropout, dtype)
        if options != ("dot", "softmax", "masked", None, False, "float32"):
            raise InputError("heads and channels must be given with other options, got neither")
        forms = COMMON
    else:
        raise InputError(f"heads and channels must both be given, or neither, got {heads} and {channels}")
    warmed = []
    with specialise.quietly():
        for number, form in enumerate(forms):
            if progress is not None:
                progress(number, len(forms), str(form))
            start, before = time.perf_counter(), specialise.num_compiled()
            _use(form)
            warmed.append(Warmed(form, specialise.num_compiled() - before, time.perf_counter() - start))
    store.tidy()
    return warmed


def _check(form: Form, dropout: bool) -> None:
    counts = {"heads": form.heads, "channels": form.channels} | ({} if form.edge_dim is None else {"edge_dim": form.edge_dim})
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be at least 1, got {count}")
    words: dict[str, tuple[str, Iterable[str]]] = {
        "score": (form.score, SCORES),
        "normaliser": (form.normaliser, NORMALISERS),
        "attention": (form.attention, ("masked", "full", "linear")),
        "dtype": (form.dtype, _TYPES),
    }
    for name, (word, known) in words.items():
        if word not in known:
            raise InputError(f"{name} must be one of {', '.join(known)}, got {word!r}")
    if form.edge_dim is not None and form.attention != "masked":
        raise InputError(f"edge_dim must be None with attention={form.attention!r}: only masked attention reads edge features")
    if form.attention == "linear" and (form.score, form.normaliser, dropout) != ("dot", "softmax", False):
        raise InputError("score, normaliser and dropout must be left out with attention='linear', which has none of them")


def _use(form: Form) -> None:
    """Calls a form's kernels. Nothing is random: the caller's generators stay as they are."""
    heads, channels = form.heads, form.channels
    # Whatever mode the caller is in: these tensors are small, on the CPU, and need gradients.
    with torch.device("cpu"), torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):

        def ones(*shape: int) -> Tensor:
            return torch.ones(shape, dtype=_TYPES[form.dtype], requires_grad=True)

        query, key, value = (ones(1, heads, channels) for _ in range(3))
        if form.attention == "linear":
            for nodes in (1, _LOOPS):  # small graphs and large ones have kernels of their own
                query, key, value = (ones(nodes, heads, channels) for _ in range(3))
                linear_attention(query, key, value, BlockDiagonalMask.single(nodes), "polynormer").sum().backward()
            return
        mask: Mask = BlockDiagonalMask.single(1)
        if form.attention == "masked":
            mask = AdjacencyMask.from_edge_index(torch.zeros(2, _LOOPS, dtype=torch.int64), 1)
        shape = SCORES[form.score].weight_shape(heads, channels)
        score = make_score(form.score, None if shape is None else ones(*shape))
        features = None
        if form.edge_dim is not None:
            weight = ones(heads, channels, form.edge_dim)
            features = EdgeFeatures(ones(_LOOPS, form.edge_dim), weight, weight)
        plain = why_not_fused(query, value, normaliser=form.normaliser, edge_attr=features)
        if plain is not None:
            raise InputError(f"there is nothing to compile for {form}: {plain}")
        out = attention(
            *(query, key, value, mask),
            score=score,
            normaliser=form.normaliser,
            edge_attr=features,
            dropout=0.5 if form.dropout else 0.0,
            seed=0,
        )
        assert isinstance(out, Tensor)
        out.sum().backward()
