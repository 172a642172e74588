"""The sums that every form of linear attention is made of, graph by graph."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.cpu.products import linear_sums, serves


def kernel_sums(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j (q_i · k_j) v_j and Σ_j q_i · k_j over the nodes j of the graph of each node i, itself included.

    Nothing is padded, and beyond inputs and result little is held: on a CPU a [heads, channels, value channels] matrix for
    each thousand nodes of a large graph. There the bits are the same for any number of threads, but under
    `GRAPHATTN_BACKEND=reference` and in half precision, where torch's products are taken. On a GPU all graphs of one size are
    one matrix product.

    Args:
        query, key: [nodes, heads, channels], after the feature map, sorted by graph.
        value: [nodes, heads, value channels].
        ptr: where each graph begins, int64, [graphs + 1].

    Returns:
        [nodes, heads, value channels] and [nodes, heads, 1].

    Raises:
        InputError: on tensors that do not fit, or a ptr that does not rise from 0 to the number of nodes.
    """
    sums: Tensor = _weighted_sums(query, key, F.pad(value, (0, 1), value=1.0), ptr)
    return sums[..., :-1], sums[..., -1:]


def graph_of_nodes(ptr: Tensor, num_nodes: int) -> Tensor:
    """The graph of each of the sorted nodes, int64, [nodes]."""
    return torch.repeat_interleave(ptr.diff(), output_size=num_nodes)


@torch.library.custom_op("graphattn::weighted_sums", mutates_args=())
def _weighted_sums(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> Tensor:
    """Σ_j (q_i · k_j) v_j: an operator, because the sizes of graphs are data, which a tracer cannot loop over."""
    _check(query, key, value, ptr)
    out = value.new_empty(query.shape[0], *value.shape[1:])
    starts, sizes = ptr[:-1], ptr.diff()
    with torch.autocast(query.device.type, enabled=False):
        if query.device.type == "cpu":
            _on_cpu(query, key, value, starts, sizes, out)
        else:
            _by_size(query, key, value, starts, sizes, out)
    return out


def check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Refuses tables that are not [nodes, heads, channels], one shape for query and key."""
    if query.dim() != 3 or key.shape != query.shape or value.dim() != 3 or value.shape[:2] != query.shape[:2]:
        given = ", ".join(str(list(rows.shape)) for rows in (query, key, value))
        raise InputError(f"query, key and value must have shape [nodes, heads, channels], one for query and key, got {given}")


def _check(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> None:
    """Kernels look at addresses, not at shapes."""
    check_shapes(query, key, value)
    kinds = {f"{rows.dtype} on {rows.device.type}" for rows in (query, key, value)}
    if len(kinds) > 1 or ptr.dtype != torch.int64 or ptr.device != query.device:
        given = ", ".join([*sorted(kinds), f"ptr {ptr.dtype} on {ptr.device.type}"])
        raise InputError(f"query, key and value must be of one type, ptr in int64, and all on one device, got {given}")
    rises = ptr.dim() == 1 and ptr.shape[0] > 0 and bool((ptr.diff() >= 0).all())
    if not rises or [int(ptr[0]), int(ptr[-1])] != [0, query.shape[0]]:
        raise InputError(f"ptr must rise from 0 to {query.shape[0]}, the number of nodes")


def _on_cpu(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, sizes: Tensor, out: Tensor) -> None:
    """Through kernels, or by torch's products one graph after the other."""
    sizes, order = sizes.sort(descending=True, stable=True)
    graphs = torch.stack([starts[order], sizes], 1)
    if serves(query, key, value):
        linear_sums(query, key, value, graphs, out)
        return
    for start, size in graphs.tolist():
        of_query, of_key, of_value, of_out = (t[start : start + size].transpose(0, 1) for t in (query, key, value, out))
        torch.bmm(of_query, of_key.transpose(1, 2) @ of_value, out=of_out)


def _by_size(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, sizes: Tensor, out: Tensor) -> None:
    """All graphs of one size at a time: few launches on a GPU, and nothing is padded."""
    for size, number in zip(*(counts.tolist() for counts in sizes[sizes > 0].unique(return_counts=True)), strict=True):
        own = starts[sizes == size]
        nodes = own.unsqueeze(1) + torch.arange(size, device=starts.device)
        # A graph that is the only one of its size, as a network is, needs no copy.
        alone = slice(int(own[0]), int(own[0]) + size) if number == 1 else None
        tables = (table[nodes] if alone is None else table[alone].unsqueeze(0) for table in (query, key, value))
        of_query, of_key, of_value = (table.transpose(1, 2) for table in tables)
        if size < min(key.shape[2], value.shape[2]):  # what is between must not be larger than the tables
            product = (of_query @ of_key.transpose(2, 3)) @ of_value
        else:
            product = of_query @ (of_key.transpose(2, 3) @ of_value)
        out[nodes] = product.transpose(1, 2)


@_weighted_sums.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> Tensor:
    return value.new_empty(query.shape[0], *value.shape[1:])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Linear in each of the three, so that every gradient is such a sum again, and so are gradients of gradients."""
    query, key, value, ptr = ctx.saved_tensors
    of_query, of_key, of_value, _ = ctx.needs_input_grad
    return (
        _weighted_sums(gradient, value, key, ptr) if of_query else None,
        _weighted_sums(value, gradient, query, ptr) if of_key else None,
        _weighted_sums(key, query, gradient, ptr) if of_value else None,
        None,
    )


_weighted_sums.register_autograd(_differentiate, setup_context=_save)
