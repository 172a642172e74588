"""Gradients of gradients: rarely asked for, so the plain formula is differentiated twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.philox import dropout_mask
from graphattn.ops.score.additive import ACTIVATIONS
from graphattn.ops.segment import segment_sum

if TYPE_CHECKING:
    from graphattn.ops.inputs import Inputs


def second_order(
    gradient: Tensor,
    feature_gradient: Tensor | None,
    inputs: Inputs,
    needs: list[bool],
    directions: tuple[Tensor | None, ...],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """What the backward operator's gradients depend on, applied to `directions`.

    Args:
        gradient, feature_gradient: of the two outputs, as the backward operator got them.
        inputs: of the forward operator.
        needs: which of its first seven inputs have a gradient.
        directions: the gradients of those gradients.

    Returns:
        The gradients of (gradient, feature_gradient) and of the first seven inputs.
    """
    # With a graph to be made of this as well, what is differentiated stays a part of the caller's graph.
    again = torch.is_grad_enabled()

    def variable(tensor: Tensor | None, wanted: bool = True) -> Any:
        if tensor is None or not wanted:
            return tensor
        return tensor.view_as(tensor) if again and tensor.requires_grad else tensor.detach().requires_grad_()

    with torch.enable_grad():
        leaves = [variable(tensor, need) for tensor, need in zip(inputs[:7], needs, strict=True)]
        of_outputs = [variable(tensor) for tensor in (gradient, feature_gradient)]
        outputs = _formula(inputs._replace(**dict(zip(inputs._fields[:7], leaves, strict=True))))
        pairs = [(out, of) for out, of in zip(outputs, of_outputs, strict=True) if out is not None and of is not None]
        wanted = [leaf for leaf, need in zip(leaves, needs, strict=True) if need]
        first = torch.autograd.grad(
            [out for out, _ in pairs], wanted, [of for _, of in pairs], create_graph=True, allow_unused=True
        )
        along = [d for d, n in zip(directions, needs, strict=True) if n]
        used = [(f, d) for f, d in zip(first, along, strict=True) if f is not None and d is not None and f.requires_grad]
        variables = [of for of in of_outputs if of is not None] + wanted
        if not used:
            return [None, None], [None] * len(leaves)
        along = [d for _, d in used]
        gradients = torch.autograd.grad([f for f, _ in used], variables, along, allow_unused=True, create_graph=again)
        second = iter(gradients)
    return (
        [None if of is None else next(second) for of in of_outputs],
        [next(second) if need else None for need in needs],
    )


def _formula(inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """The operator in plain torch, with the edges in their sorted order."""
    query, key, value = inputs.tables
    compute = torch.promote_types(query.dtype, torch.float32)
    target, source, edge = _edges(inputs)
    q, k, v = query.to(compute)[target], key.to(compute)[source], value.to(compute)[source]
    attr = None if inputs.attr is None else inputs.attr[edge]
    if inputs.weight is None:
        scores = (q * k).sum(-1) * inputs.scale
        if inputs.edge_key is not None and attr is not None:
            scores = scores + (inputs.edge_key[target] * attr.unsqueeze(1)).sum(-1)
    else:
        total = q + k
        if inputs.weight.shape[0] > 1 and attr is not None:
            total = total + torch.einsum("ec,chd->ehd", attr, inputs.weight[1:])
        active = ACTIVATIONS[inputs.score](total, inputs.scale)
        scores = (active * inputs.weight[0]).sum(-1)
    if inputs.bias is not None:
        scores = scores + inputs.bias[edge]
    size = query.shape[0]
    weights = normaliser_of(inputs.normaliser)(scores, target, size)
    if inputs.seed is not None:
        kept = dropout_mask(scores.shape[0], scores.shape[1], inputs.dropout, inputs.seed)[edge]
        weights = weights * kept / (1 - inputs.dropout)
    out = segment_sum(weights.unsqueeze(-1) * v, target, size).to(query.dtype)
    if not inputs.edge_value or attr is None:
        return out, None
    return out, segment_sum(weights.unsqueeze(-1) * attr.unsqueeze(1), target, size)


def _edges(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Target, source and the caller's number of the edge in every slot."""
    degree = inputs.row_pointers.diff().long()
    target = torch.repeat_interleave(torch.arange(degree.shape[0], device=degree.device), degree)
    if inputs.row_edges is not None:
        return target, inputs.row_neighbours.long(), inputs.row_edges.long()
    slot = torch.arange(target.shape[0], device=target.device)
    return target, inputs.row_neighbours[target] + slot - inputs.row_pointers[target], slot
