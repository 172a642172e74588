"""The equation once more, written with loops over nodes in float64: what the op is held against. It shares no code with it."""

from __future__ import annotations

import math

import torch
from cases.op import OpCase
from entmax import entmax15, sparsemax
from torch import Tensor


def oracle(case: OpCase, pairs: list[tuple[int, int]], targets: int, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Output [targets, heads, value channels] and weights [pairs, heads]; `pairs` holds (source, target) of every edge."""
    query, key, value = (tensors[name] for name in ("query", "key", "value"))
    heads = query.shape[1]
    weights: list[list[Tensor]] = [[query.new_zeros(())] * heads for _ in pairs]
    rows = []
    for target in range(targets):
        edges = [edge for edge, (_, i) in enumerate(pairs) if i == target]
        for head in range(heads):
            if not edges:
                rows.append(value.new_zeros(value.shape[2]))
                continue
            keys = [key[pairs[edge][0], head] for edge in edges]
            values = [value[pairs[edge][0], head] for edge in edges]
            if case.edge_attr:
                keys = [k + tensors["key_weight"][head] @ tensors["attr"][e] for k, e in zip(keys, edges, strict=True)]
                values = [v + tensors["value_weight"][head] @ tensors["attr"][e] for v, e in zip(values, edges, strict=True)]
            scores = torch.stack([_score(case.score, query[target, head], k, tensors, head) for k in keys])
            if case.bias:
                scores = scores + tensors["bias"][edges, head]
            alpha = _normalise(case.normaliser, scores)
            for edge, weight in zip(edges, alpha, strict=True):
                weights[edge][head] = weight
            rows.append(sum(weight * v for weight, v in zip(alpha, values, strict=True)))
    out = torch.stack(rows).reshape(targets, heads, -1) if rows else value.new_zeros(targets, heads, value.shape[2])
    flat = [weight for of_edge in weights for weight in of_edge]
    return out, torch.stack(flat).reshape(-1, heads) if flat else value.new_zeros(0, heads)


def _score(kind: str, query: Tensor, key: Tensor, tensors: dict[str, Tensor], head: int) -> Tensor:
    if kind == "dot":
        return query @ key / math.sqrt(len(query))
    if kind == "static":
        of_query, of_key = tensors["weight"][:, head]
        return _leaky(of_query @ query + of_key @ key)
    activations = {"tanh": torch.tanh, "additive": _leaky}
    return tensors["weight"][head] @ activations[kind](query + key)


def _leaky(z: Tensor) -> Tensor:
    return torch.where(z > 0, z, 0.2 * z)


def _normalise(kind: str, scores: Tensor) -> Tensor:
    if kind == "softmax":
        return scores.softmax(0)
    if kind == "sigmoid":
        return (scores - math.log(len(scores))).sigmoid()
    if kind == "relu":
        return scores.clamp(min=0) / len(scores)
    if kind == "softmax1":
        return torch.cat([scores, scores.new_zeros(1)]).softmax(0)[:-1]  # as if there were one more edge, with score zero
    return {"sparsemax": sparsemax, "entmax15": entmax15}[kind](scores, dim=0)
