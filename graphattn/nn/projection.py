"""The linear maps of a layer: initialised, and several maps of the same vectors in one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.dense.linear import Linear

# What torch.nn.modules.module.register_module_… set for all modules.
_KINDS = ("forward", "forward_pre", "backward", "backward_pre")


def reset_maps(module: nn.Module) -> None:
    """Draws the weights of a module's linear maps Glorot-uniform; their biases become zero."""
    for linear in module.children():
        if isinstance(linear, nn.Linear):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)


def is_plain(linear: nn.Module) -> bool:
    """Whether a linear map, torch's or torch_geometric's, is just its weight and bias.

    One that was replaced (quantised, adapted), parametrised or hooked is called as it is, never packed around.
    """
    if type(linear) not in (nn.Linear, Linear) or has_hooks(linear) or "forward" in linear.__dict__:
        return False
    return type(linear.weight) in (nn.Parameter, Tensor)


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of the module runs hooks; a lazy map, which has no weight yet, does."""
    own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    everywhere = (getattr(nn.modules.module, f"_global_{kind}_hooks") for kind in _KINDS)
    return any(own) or any(everywhere)


def project_plain(x: Tensor, linears: Sequence[nn.Linear]) -> Tensor | None:
    """What `project_together` gives of linear maps, or None where they are not all plain and of one kind, or do not fit x."""
    if x.dim() != 2 or not all(is_plain(linear) for linear in linears):
        return None
    weights = [linear.weight for linear in linears]
    biases = [linear.bias for linear in linears]
    shape = (weights[0].shape[0], x.shape[1])
    if any(weight.dtype != weights[0].dtype or weight.shape != shape for weight in weights):
        return None
    if any((bias is None) != (biases[0] is None) for bias in biases):
        return None
    return project_together(x, weights, biases)


def project_together(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> Tensor:
    """x times all weights [channels, in_channels] of one after the other: [nodes, Σ channels]; all have biases, or none."""
    given = [bias for bias in biases if bias is not None]
    return F.linear(x, torch.cat(list(weights)), torch.cat(given) if given else None)
