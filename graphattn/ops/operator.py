"""The fused kernels as torch operators: `graphattn::fused_attention` and its backward, with shapes for tracing and autograd.

An operator takes tensors only; `graphattn.ops.backends.fused` prepares them. Three layouts of queries, keys and values are
taken: three tensors; queries and keys, where values are the keys (`value` is None); and one packed tensor [nodes, 3, heads,
channels] as `query` (`key` is None as well), whose gradient comes back packed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from graphattn.ops.inputs import NUM_TENSORS, SCHEMA, Gradients, Inputs, empty_gradients, empty_outputs
from graphattn.ops.linear import map_heads, sum_of_head_products
from graphattn.ops.second_order import second_order
from graphattn.ops.torch_private import is_dispatch_mode_active, is_functorch_active

NUM_INPUTS, NUM_GRADIENTS = len(Inputs._fields), len(Gradients._fields)


class Kernels(Protocol):
    """What runs the operators for one backend; arguments as of the operators' schemas."""

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]: ...

    def backward(
        self,
        inputs: Inputs,
        gradient: Tensor,
        feature_gradient: Tensor | None,
        out: Tensor,
        statistics: Tensor,
        feature_sums: Tensor,
        needs: list[bool],
    ) -> tuple[Tensor, ...]: ...


_kernels: dict[str, Callable[[], Kernels]] = {}


def register_kernels(backend: str, load: Callable[[], Kernels]) -> None:
    """Makes the kernels of a backend known to the operators; they are loaded when first called, since not all have Triton."""
    _kernels[backend] = cache(load)


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features of `Inputs`."""
    inputs = Inputs(*arguments)
    with _on_device_of(inputs.query):
        return _kernels[inputs.backend]().forward(inputs)


def backward(
    gradient: Tensor, feature_gradient: Tensor | None, out: Tensor, statistics: Tensor, feature_sums: Tensor,
    needs: list[bool], *arguments: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """`Gradients` of `Inputs`. Backward's backend is forward's, whatever is asked for meanwhile."""
    inputs = Inputs(*arguments)
    with _on_device_of(gradient):
        kernels = _kernels[inputs.backend]()
        return kernels.backward(inputs, gradient, feature_gradient, out, statistics, feature_sums, needs)


def _on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A kernel runs on the current GPU, which need not be that of its tensors."""
    return torch.cuda.device_of(tensor) if tensor.is_cuda else contextlib.nullcontext()


def fused_attention(*arguments: Any, value_weight: Tensor | None) -> Tensor:
    """The operator `graphattn::fused_attention`, with what edge features add to the values: Σ α v + W_e (Σ α e).

    While nothing traces, wraps or transforms tensors the dispatcher has nothing to add, and takes as long as a small
    graph's attention: then the same code runs without it.

    Args:
        arguments: those of `graphattn.ops.inputs.Inputs`.
        value_weight: W_e, [heads, value channels, edge channels]; None where the operator's `edge_value` is off.
    """
    query = arguments[0]
    watched = (
        torch.compiler.is_compiling()
        or is_dispatch_mode_active()
        or is_functorch_active()
        or type(query) not in (Tensor, torch.nn.Parameter)
    )
    if watched:
        out, _, feature_sums = _operator(*arguments)
        if value_weight is None:
            return out
        return out[..., : value_weight.shape[1]] + map_heads(feature_sums, value_weight).to(out.dtype)
    if not torch.is_grad_enabled():
        return _forward_with_values(arguments, value_weight)[0]
    out, _, feature_sums = _Eager.apply(*arguments, value_weight)
    return out if value_weight is None else _PassToValues.apply(out, feature_sums, value_weight)


def _forward_with_values(arguments: Sequence[Any], value_weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    out, statistics, feature_sums = forward(*arguments)
    if value_weight is not None:
        out[..., : value_weight.shape[1]] += map_heads(feature_sums, value_weight)
    return out, statistics, feature_sums


class _Eager(torch.autograd.Function):
    """The operator with `value_weight` behind its arguments.

    Its output has all of Σ α v + W_e (Σ α e), and so backward needs no Σ α e, as large as all edge features of the nodes'
    heads. The gradients of the second term's parts are those of `_PassToValues`.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *inputs, value_weight = arguments
        output = _forward_with_values(inputs, value_weight)
        _save(ctx, inputs, output if value_weight is None else (*output[:2], output[2].new_empty(0)))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return *_differentiate(ctx, *gradients), None


class _PassToValues(torch.autograd.Function):
    """Gives back `out`, and passes its gradient on to Σ α e and to W_e, which have their part in it already."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, feature_sums: Tensor, value_weight: Tensor) -> Tensor:
        ctx.save_for_backward(feature_sums, value_weight)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        feature_sums, value_weight = ctx.saved_tensors
        of_values = gradient[..., : value_weight.shape[1]].to(value_weight.dtype)
        with torch.autocast(gradient.device.type, enabled=False):
            of_weight = sum_of_head_products(of_values, feature_sums) if ctx.needs_input_grad[2] else None
            return gradient, map_heads(of_values, value_weight.transpose(1, 2)), of_weight


def _save(ctx: Any, inputs: Sequence[Any], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:NUM_TENSORS], *output)
    ctx.rest = inputs[NUM_TENSORS:]
    _, statistics, feature_sums = output
    edge_value = Inputs(*inputs).edge_value
    ctx.mark_non_differentiable(statistics, *(() if edge_value else (feature_sums,)))
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, *of_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
    gradient, _, feature_gradient = of_outputs
    if gradient is None and feature_gradient is None:
        return (None,) * NUM_INPUTS
    *tensors, out, statistics, feature_sums = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:NUM_GRADIENTS])
    gradient = torch.zeros_like(out) if gradient is None else gradient
    # Where this is recorded for gradients as well, it must be the operator, which autograd knows.
    run = _backward_operator if torch.is_grad_enabled() or torch.compiler.is_compiling() else _backward_or_operator
    gradients = run(gradient, feature_gradient, out, statistics, feature_sums, needs, *tensors, *ctx.rest)
    wanted = [value if need else None for value, need in zip(gradients, needs, strict=True)]
    return (*wanted, *(None,) * (NUM_INPUTS - NUM_GRADIENTS))


def _backward_or_operator(gradient: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    if type(gradient) is not Tensor or is_dispatch_mode_active() or is_functorch_active():
        return _backward_operator(gradient, *arguments)
    try:
        gradient.data_ptr()
    except RuntimeError as error:  # several gradients that torch shows as one, without memory of its own
        raise RuntimeError(
            "the fused kernels take one gradient at a time; for batched gradients (is_grads_batched, vectorize=True) call "
            "attention under GRAPHATTN_BACKEND=reference"
        ) from error
    return backward(gradient, *arguments)


def _save_all(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    gradient, feature_gradient, _, _, _, needs, *arguments = inputs
    ctx.save_for_backward(gradient, feature_gradient, *arguments[:NUM_TENSORS])
    ctx.needs, ctx.rest = needs, arguments[NUM_TENSORS:]


def _differentiate_twice(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
    gradient, feature_gradient, *tensors = ctx.saved_tensors
    of_outputs, of_inputs = second_order(gradient, feature_gradient, Inputs(*tensors, *ctx.rest), ctx.needs, directions)
    return (*of_outputs, None, None, None, None, *of_inputs, *(None,) * (NUM_INPUTS - NUM_GRADIENTS))


def _fake_forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = Inputs(*arguments)
    query, _, value = inputs.tables
    return empty_outputs(inputs, query, value)


def _fake_backward(
    gradient: Tensor, feature_gradient: Tensor | None, out: Tensor, statistics: Tensor, feature_sums: Tensor,
    needs: list[bool], *inputs: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    return empty_gradients(Inputs(*inputs), needs)


_library = torch.library.Library("graphattn", "FRAGMENT")
_library.define(f"fused_attention({SCHEMA}) -> (Tensor, Tensor, Tensor)")
_library.define(
    "fused_attention_backward(Tensor gradient, Tensor? feature_gradient, Tensor out, Tensor statistics, Tensor feature_sums, "
    f"bool[] needs, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
for _device in ("CPU", "CUDA"):
    _library.impl("fused_attention", forward, _device)
    _library.impl("fused_attention_backward", backward, _device)
torch.library.register_fake("graphattn::fused_attention", _fake_forward, lib=_library)
torch.library.register_fake("graphattn::fused_attention_backward", _fake_backward, lib=_library)
torch.library.register_autograd("graphattn::fused_attention", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd(
    "graphattn::fused_attention_backward", _differentiate_twice, setup_context=_save_all, lib=_library
)
_operator = torch.ops.graphattn.fused_attention.default
_backward_operator = torch.ops.graphattn.fused_attention_backward.default
