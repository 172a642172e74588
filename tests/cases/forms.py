"""The forms of the op that the laws are held against."""

from __future__ import annotations

import os
from itertools import product

from graphattn.ops import NORMALISERS

from .op import OpCase

SCORES = ("dot", "additive", "tanh", "static")
FUSED_NORMALISERS = ("softmax", "sigmoid", "relu", "softmax1")
ALL_OP_CASES = [
    OpCase(mask, score, normaliser, bias, edge_attr)
    for mask, score, normaliser, bias, edge_attr in product(
        ("adjacency", "block"), SCORES, NORMALISERS, (False, True), (False, True)
    )
    if not (mask == "block" and edge_attr)
]


def _covers(case: OpCase) -> bool:
    """Each score with each normaliser once, so that every two choices, such as a score and edge features, meet."""
    if not case.fused:
        return True
    score, normaliser = SCORES.index(case.score), FUSED_NORMALISERS.index(case.normaliser)
    edges = (score + normaliser) % 2 == 0
    bias = (score // 2 + normaliser) % 2 == 1
    edge_attr = edges and (normaliser == 1 or (score == 0) == (normaliser == 0))
    return (case.mask == "adjacency", case.bias, case.edge_attr) == (edges, bias, edge_attr)


# A form of the fused CPU kernels takes seconds to compile, and again for every type and for dropout. The laws are held against
# those that let every two choices meet, in all types; against all forms where GRAPHATTN_ALL_FORMS is set (`make test-all`),
# in float64 without dropout.
ALL_FORMS = bool(os.environ.get("GRAPHATTN_ALL_FORMS"))
COVERING_CASES = [case for case in ALL_OP_CASES if _covers(case)]
OP_CASES = ALL_OP_CASES if ALL_FORMS else COVERING_CASES
RECTANGULAR_CASES = [case for case in OP_CASES if case.mask == "adjacency"]
