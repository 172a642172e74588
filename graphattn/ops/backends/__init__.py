"""The backends of `graphattn.ops.attention`, and the one place that decides which of them serves a call."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.backends.base import Backend, Call
from graphattn.ops.backends.fused import MOST_EDGE_CHANNELS, MOST_HEADS, FusedBackend, head_products
from graphattn.ops.backends.reference import Reference
from graphattn.ops.backends.torch_sdpa import LARGE, TorchSDPA
from graphattn.ops.cpu.backend import CPUBackend
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import Dot, Score
from graphattn.ops.settings import requested_backend
from graphattn.ops.triton.backend import TritonBackend

CPU, TRITON = CPUBackend(), TritonBackend()
FUSED: tuple[FusedBackend, ...] = (CPU, TRITON)
PLAIN: tuple[Backend, ...] = (TorchSDPA(), Reference())
# In the order in which they are asked. torch's kernel comes first for one large graph: its matrix products pay there.
BACKENDS: tuple[Backend, ...] = (TorchSDPA(LARGE), *FUSED, *PLAIN)

_SINGLE = TorchSDPA(1)
_REQUESTED: dict[str, tuple[Backend, ...]] = {"auto": BACKENDS, "reference": PLAIN, "cpu": (CPU,), "triton": (TRITON,)}


def choose(call: Call) -> Backend:
    """The backend that serves a call: the first one that can, of those that `GRAPHATTN_BACKEND` allows.

    Raises:
        InputError: where `GRAPHATTN_BACKEND` asks for kernels that cannot serve.
    """
    requested, reason = requested_backend(), None
    for backend in _REQUESTED[requested]:
        reason = backend.why_not(call)
        if reason is None:
            return backend
    raise InputError(f"GRAPHATTN_BACKEND={requested} asks for fused kernels, but {reason}")


def choose_as_torch(call: Call) -> Backend:
    """As `choose`, for a stand-in of torch's attention: a single graph of any size goes to torch's kernel, for its numbers."""
    if requested_backend() in ("auto", "reference") and _SINGLE.why_not(call) is None:
        return _SINGLE
    return choose(call)


def choose_fused(device: torch.device) -> FusedBackend:
    """The fused kernels for tensors on a device, for a caller that knows they serve (`why_not_fused`)."""
    return TRITON if device.type != "cpu" or requested_backend() == "triton" else CPU


def why_not_fused(
    query: Tensor,
    value: Tensor,
    *,
    score: Score | None = None,
    normaliser: str = "softmax",
    edge_attr: EdgeFeatures | None = None,
    return_attention: bool = False,
) -> str | None:
    """Why a call like this goes to the plain version, or None where fused kernels serve it.

    Raises:
        InputError: where `GRAPHATTN_BACKEND` asks for kernels that cannot serve.
    """
    requested = requested_backend()
    if requested == "reference":
        return "GRAPHATTN_BACKEND=reference asks for the plain version"
    chosen = normaliser_of(normaliser)
    call = Call(query, query, value, None, score or Dot(), chosen, edge_attr=edge_attr, return_attention=return_attention)
    reason: str | None = None
    for backend in FUSED:
        if backend in _REQUESTED[requested]:
            why = backend.why_not(call)
            if why is None:
                return None
            reason = why if reason is None or backend.is_for(query.device) else reason
    if requested != "auto":
        raise InputError(f"GRAPHATTN_BACKEND={requested} asks for fused kernels, but {reason}")
    return reason


__all__ = [
    "BACKENDS",
    "CPU",
    "FUSED",
    "LARGE",
    "MOST_EDGE_CHANNELS",
    "MOST_HEADS",
    "PLAIN",
    "TRITON",
    "Backend",
    "Call",
    "FusedBackend",
    "choose",
    "choose_as_torch",
    "choose_fused",
    "head_products",
    "why_not_fused",
]
