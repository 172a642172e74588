"""torch_geometric's attention layers swapped for their drop-in versions, in place: see `graphattn.nn.conv`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, overload

import torch_geometric.nn
from torch import nn
from torch_geometric.nn.conv import MessagePassing

from graphattn.errors import InputError
from graphattn.nn.conv import gat_conv, gatv2_conv, gps_conv, transformer_conv

Model = TypeVar("Model", bound=nn.Module)


class _DropIn(NamedTuple):
    """Our class, and a function (layer, *arguments of its call) that gives a mask, or the reason why the call is not fused."""

    layer: type[nn.Module]
    mask_or_reason: Callable[..., object]


_DROP_INS: dict[type[nn.Module], _DropIn] = {
    torch_geometric.nn.GATConv: _DropIn(gat_conv.GATConv, gat_conv.mask_or_reason),
    torch_geometric.nn.GATv2Conv: _DropIn(gatv2_conv.GATv2Conv, gatv2_conv.mask_or_reason),
    torch_geometric.nn.TransformerConv: _DropIn(transformer_conv.TransformerConv, transformer_conv.mask_or_reason),
    torch_geometric.nn.GPSConv: _DropIn(gps_conv.GPSConv, gps_conv.mask_or_reason),
}
_OURS: dict[type[nn.Module], type[nn.Module]] = {drop_in.layer: theirs for theirs, drop_in in _DROP_INS.items()}


@dataclass(frozen=True)
class Report:
    """What `accelerate` did to a model; printed, it reads as a list.

    Args:
        swapped: name of each layer that was swapped → its class.
        left: name of each other layer of message passing or attention → why it was left as it is.
    """

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"swapped {len(self.swapped)}, left {len(self.left)}"]
        lines += [f"  swapped {name}: {kind}" for name, kind in self.swapped.items()]
        lines += [f"  left {name}: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


@overload
def accelerate(model: Model, *, undo: bool = ..., report: Literal[False] = ...) -> Model: ...


@overload
def accelerate(model: Model, *, undo: bool = ..., report: Literal[True]) -> tuple[Model, Report]: ...


def accelerate(model: Model, *, undo: bool = False, report: bool = False) -> Model | tuple[Model, Report]:
    """Swaps torch_geometric's attention layers inside a model for their fused versions, in place.

    `GATConv`, `GATv2Conv`, `TransformerConv` and `GPSConv` become the classes of `graphattn.nn.conv`, which are subclasses
    of them: parameters, buffers, hooks, `repr` and `state_dict` stay as they are. Only layers whose class is exactly
    torch_geometric's are swapped, never a subclass. A second call finds nothing to do.

    Calls that the fused version does not serve run torch_geometric's own code, as `graphattn.why_not_fused` says. So a call
    with `return_attention_weights` and one without differ by rounding, about 1e-7 of an output in float32: the two add in
    another order. While `torch.onnx.export` is at work all layers run torch_geometric's code, as ONNX has no operator for ours.

    Args:
        model: a module; it may itself be such a layer.
        undo: give torch_geometric's own classes back instead.
        report: also return what was swapped, and what was left and why.

    Returns:
        the model itself; with `report=True` the pair (model, `Report`).

    Raises:
        InputError: if the model is no module.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    becomes = _OURS if undo else {theirs: drop_in.layer for theirs, drop_in in _DROP_INS.items()}
    done = Report()
    for path, module in model.named_modules():
        kind, name = type(module), path or "the model"
        if kind in becomes:
            module.__class__ = becomes[kind]
            if isinstance(module, MessagePassing):
                module._set_jittable_templates()  # as if it had been made of this class
            done.swapped[name] = kind.__name__
        elif isinstance(module, (MessagePassing, *_DROP_INS)):
            done.left[name] = _why_left(kind)
    return (model, done) if report else model


def why_not_fused(layer: nn.Module, *args: Any, **kwargs: Any) -> str | None:
    """Why a call of a layer with these arguments runs torch_geometric's own code, or None where it is fused.

    The answer is that of the call itself, at this moment: hooks, explain mode and the like count as they are now.

    Args:
        layer: an attention layer, swapped by `accelerate` or made of a class of `graphattn.nn.conv`.
        args, kwargs: what the layer would be called with: x, edge_index and so on.

    Raises:
        InputError: if the layer is none of torch_geometric's attention layers.
    """
    for theirs, drop_in in _DROP_INS.items():
        if isinstance(layer, drop_in.layer):
            found = drop_in.mask_or_reason(layer, *args, **kwargs)
            return found if isinstance(found, str) else None
        if isinstance(layer, theirs):
            return _why_left(type(layer))
    names = ", ".join(kind.__name__ for kind in _DROP_INS)
    raise InputError(f"layer must be one of {names}, got {type(layer).__name__}")


def _why_left(kind: type[nn.Module]) -> str:
    if kind in _DROP_INS:
        return f"it is torch_geometric's own {kind.__name__}, which graphattn.accelerate swaps"
    for theirs, drop_in in _DROP_INS.items():
        if issubclass(kind, drop_in.layer):
            return f"it is graphattn's {theirs.__name__} already"
        if issubclass(kind, theirs):
            return f"{kind.__name__} is a subclass of {theirs.__name__}, and only torch_geometric's own class is swapped"
    return f"there is no fused {kind.__name__}"
