"""What the environment asks for."""

from __future__ import annotations

import os

import torch

from graphattn.errors import InputError

BACKENDS = ("auto", "reference", "cpu", "triton")


@torch.compiler.assume_constant_result
def requested_backend() -> str:
    """The value of `GRAPHATTN_BACKEND`: "auto" (the default), "reference" (the plain version), "cpu" or "triton" (kernels).

    Raises:
        InputError: on another value.
    """
    name = os.environ.get("GRAPHATTN_BACKEND") or "auto"
    if name not in BACKENDS:
        raise InputError(f"GRAPHATTN_BACKEND must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


@torch.compiler.assume_constant_result
def is_onnx_export() -> bool:
    """Whether torch.onnx traces this call: it knows no operator but torch's own."""
    return torch.onnx.is_in_onnx_export()
