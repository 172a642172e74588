"""Which backend serves a kind of call here, and why: found by asking what the calls themselves ask."""

from __future__ import annotations

import torch

from graphattn.errors import InputError
from graphattn.ops.backends import FUSED, LARGE, TRITON, Call, choose, why_not_fused
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.score import Score


def server(score: Score, normaliser: str, full: bool, device: str = "cpu") -> tuple[str, str | None]:
    """What serves calls, "fused", "plain", "torch" or "refused", and why, where there is something to say.

    Args:
        score, normaliser: as in `attention`.
        full: on a `BlockDiagonalMask`; else on an `AdjacencyMask`.
        device: of the tensors.
    """
    query = torch.empty(1, 1, 1, device=device)
    mask: Mask = BlockDiagonalMask.single(1, device)
    if not full:
        mask = AdjacencyMask.from_edge_index(torch.zeros(2, 1, dtype=torch.int64, device=device), 1)
    call = Call(query, query, query, mask, score, normaliser_of(normaliser))
    try:
        backend = choose(call)
    except InputError as error:
        return "refused", str(error)
    if backend in FUSED:
        if backend is TRITON and device == "cpu":
            return "fused", "in Triton's interpreter, for tests"
        if full and choose(call._replace(mask=BlockDiagonalMask.single(LARGE, device))) is not backend:
            return "fused", f"torch's scaled_dot_product_attention on one graph of {LARGE} nodes or more, without dropout"
        return "fused", None
    reason = why_not_fused(query, query, score=score, normaliser=normaliser)
    if backend.name == "torch":
        return "torch", f"without dropout, else plain: {reason}"
    return "plain", reason
