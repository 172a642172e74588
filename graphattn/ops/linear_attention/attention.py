"""The registry of the forms, and the one function that joins them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.linear_attention.performer import orthogonal_projection, performer
from graphattn.ops.linear_attention.polynormer import polynormer
from graphattn.ops.linear_attention.sgformer import sgformer
from graphattn.ops.linear_attention.sums import check_shapes
from graphattn.ops.mask import BlockDiagonalMask


class LinearForm(NamedTuple):
    """A form of linear attention.

    Args:
        attend: the function of query, key, value and ptr, and of the projection where the form has one.
        draw_projection: makes the [features, channels] projection of the number of channels and the number of features
            (None for a default), if the form has one.
    """

    attend: Callable[..., Tensor]
    draw_projection: Callable[[int, int | None], Tensor] | None = None


LINEAR_FORMS = {
    "sgformer": LinearForm(sgformer),
    "polynormer": LinearForm(polynormer),
    "performer": LinearForm(performer, orthogonal_projection),
}


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: BlockDiagonalMask,
    form: str = "sgformer",
    projection: Tensor | None = None,
) -> Tensor:
    """Attention of every node to all nodes of its graph, in time and memory O(nodes); see `LINEAR_FORMS` for the formulas.

    Half-precision inputs are computed in float32.

    Args:
        query, key: [nodes, heads, channels].
        value: [nodes, heads, value channels].
        mask: which nodes are a graph.
        form: "sgformer", "polynormer" or "performer".
        projection: [features, channels], for "performer" only: `orthogonal_projection(channels, features)`.

    Returns:
        [nodes, heads, value channels], of the type of value.

    Raises:
        InputError: on shapes that do not fit, an unknown form, or a projection missing or not wanted.
    """
    spec = check_form(form)
    check_shapes(query, key, value)
    if mask.num_nodes != query.shape[0]:
        raise InputError(f"mask must be of the {query.shape[0]} nodes of query, got a mask of {mask.num_nodes}")
    if (projection is None) != (spec.draw_projection is None):
        expected = "None" if spec.draw_projection is None else "a tensor of shape [features, channels]"
        raise InputError(f"projection must be {expected} for form={form!r}, got {type(projection).__name__}")
    if projection is not None and (projection.dim() != 2 or projection.shape[1] != query.shape[2]):
        raise InputError(f"projection must have shape [features, {query.shape[2]}], got {list(projection.shape)}")
    dtype, compute = value.dtype, torch.promote_types(value.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        rows = (
            part.to(compute) if mask.order is None else part.index_select(0, mask.order).to(compute)
            for part in (query, key, value)
        )
        extra = () if projection is None else (projection.to(compute),)
        out = spec.attend(*rows, mask.ptr, *extra).to(dtype)
    return out if mask.order is None else torch.empty_like(out).index_copy(0, mask.order, out)


def check_form(form: str) -> LinearForm:
    """The form of that name.

    Raises:
        InputError: on an unknown name.
    """
    if form not in LINEAR_FORMS:
        raise InputError(f"form must be one of {', '.join(LINEAR_FORMS)}, got {form!r}")
    return LINEAR_FORMS[form]
