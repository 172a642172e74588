"""The registry: every case with its graph, shape, rivals and bars."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.families import (
    CORA,
    CORA_OWN,
    CORA_SPARSE,
    DROPIN_GAT,
    DROPIN_GAT_CORA,
    DROPIN_GAT_PUBMED,
    DROPIN_GATV2,
    DROPIN_GPS,
    DROPIN_TRANSFORMER,
    FULL,
    LAYER_DOT,
    LAYER_GAT,
    LAYER_GATV2,
    LINEAR,
    OP_DOT,
    OP_GAT,
    OP_GATV2,
    OWN_GAT,
    OWN_GATV2,
    Family,
)
from graphattn.errors import InputError

SHAPES = ((8, 8), (4, 32))


@dataclass(frozen=True)
class Bar:
    """What a figure must reach.

    Args:
        figure: a name of `figures.figures`, such as "step pyg/ours".
        at_least, at_most: the bound; one of the two.
    """

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0.0)

    def __str__(self) -> str:
        return f"{self.figure} {f'≤ {self.at_most:g}' if self.at_most is not None else f'≥ {self.at_least:g}'}"


@dataclass(frozen=True)
class Case:
    """A computation on a graph.

    Args:
        group: the file of its results.
        name: unique; starts with the group.
        family: the computation and all ways to do it; its parity check compares ours with the baseline.
        graph: a name of `graphs.GRAPHS`.
        heads, channels: H × D.
        modes: what is timed: "forward" (without gradients), "step" (forward and backward) or "epoch".
        baseline: the rival that parity is checked against and that runs tuned as well.
        bars: what the figures must reach.
        rows: rows of heads × channels numbers that an edge makes a step gather, (forward, forward and backward); the gather
            ceiling is measured where they are given.
        memory: whether the extra memory of a step is measured, ours and the baseline's each in a fresh process.
        isolated: whether the two are also timed there, because they do not fit into memory together.
    """

    group: str
    name: str
    family: Family
    graph: str
    heads: int
    channels: int
    modes: tuple[str, ...] = ("forward", "step")
    baseline: str = "pyg"
    bars: tuple[Bar, ...] = ()
    rows: tuple[int, int] | None = None
    memory: bool = False
    isolated: bool = False

    @property
    def rivals(self) -> tuple[str, ...]:
        """Everything that ours is compared with."""
        others = tuple(name for name in self.family.contenders if name != "ours")
        return others if self.isolated else (*others, "tuned")


def _op_cases() -> Iterator[Case]:
    # A dot product reads a row of K and one of V forward; backward by rows the same two, by columns one of Q and one of the
    # output's gradient. With keys for values, the first two are one. The static score has a scalar of each node in its place,
    # and needs no rows of queries.
    families = {"dot": (OP_DOT, (2, 6)), "gatv2": (OP_GATV2, (1, 4)), "gat": (OP_GAT, (1, 3))}
    for score, (family, rows) in families.items():
        for graph in ("random", "power-law"):
            for heads, channels in SHAPES:
                bars = [Bar("step pyg/ours", 10), Bar("step tuned/ours", 4)]
                if graph == "random":
                    if score == "dot":
                        bars += [Bar("forward of ceiling", 0.7), Bar("step of ceiling", 0.6)]
                    bars += [Bar("memory pyg/ours", {"dot": 5, "gatv2": 8}[score])] if score != "gat" else []
                name = f"op-{score}-{graph}-{heads}x{channels}"
                memory = graph == "random"
                yield Case("op", name, family, graph, heads, channels, bars=tuple(bars), rows=rows, memory=memory)


def _layer_cases() -> Iterator[Case]:
    families = {"dot": (LAYER_DOT, 5), "gatv2": (LAYER_GATV2, 7), "gat": (LAYER_GAT, None)}
    for score, (family, least) in families.items():
        bars = () if least is None else (Bar("step pyg/ours", least),)
        for graph in ("random", "power-law"):
            for heads, channels in SHAPES:
                name = f"layer-{score}-{graph}-{heads}x{channels}"
                yield Case("layer", name, family, graph, heads, channels, ("step",), bars=bars)
    for score, family in {"gatv2": OWN_GATV2, "gat": OWN_GAT}.items():
        for graph in ("random", "power-law"):
            yield Case("layer", f"layer-own-{score}-{graph}-8x8", family, graph, 8, 8, ("step",))


def _molecule_cases() -> Iterator[Case]:
    for heads, channels in SHAPES:
        shape = f"{heads}x{channels}"
        for score, family in {"dot": LAYER_DOT, "gatv2": LAYER_GATV2}.items():
            name, bars = f"molecules-masked-{score}-{shape}", (Bar("step pyg/ours", 2.5),)
            yield Case("molecules", name, family, "molecules", heads, channels, ("step",), bars=bars)
        for graph, least in {"molecules": 5, "skewed": 50}.items():
            name, bars = f"molecules-full-{graph}-{shape}", (Bar("step padded/ours", least),)
            yield Case("molecules", name, FULL, graph, heads, channels, ("step",), baseline="padded", bars=bars)


def _linear_cases() -> Iterator[Case]:
    for form, family in LINEAR.items():
        for graph, least in {"molecules": 1, "skewed": 4}.items():
            for heads, channels in SHAPES:
                name, bars = f"linear-{form}-{graph}-{heads}x{channels}", (Bar("step padded/ours", least),)
                yield Case("linear", name, family, graph, heads, channels, baseline="padded", bars=bars)


def _other_cases() -> Iterator[Case]:
    for name, family in {"cora-gat": CORA, "cora-gat-sparse": CORA_SPARSE, "cora-own": CORA_OWN}.items():
        epoch = () if name == "cora-own" else (Bar("epoch pyg/ours", 2),)
        yield Case("cora", name, family, "cora-sized", 8, 8, ("epoch",), bars=epoch)
    for score, family in {"dot": LAYER_DOT, "gatv2": LAYER_GATV2, "gat": LAYER_GAT}.items():
        calls = tuple(Bar(f"{mode} pyg/ours", 1) for mode in ("forward", "step"))
        yield Case("overhead", f"overhead-{score}", family, "tiny", 8, 8, bars=calls)
    for score, family in {"dot": LAYER_DOT, "gatv2": LAYER_GATV2}.items():
        most = (Bar("extra gigabytes", at_most=3),)
        yield Case("large", f"large-{score}", family, "large", 8, 8, ("step",), bars=most, memory=True, isolated=True)


def _dropin_cases() -> Iterator[Case]:
    never_slower = tuple(Bar(f"{mode} pyg/ours", 1) for mode in ("forward", "step"))
    for graph, family in {"cora": DROPIN_GAT_CORA, "pubmed": DROPIN_GAT_PUBMED}.items():
        yield Case("dropin", f"dropin-gat-{graph}", family, graph, 8, 8, bars=never_slower, memory=True)
    bars = (Bar("step pyg/ours", 3), Bar("memory pyg/ours", 4))
    for layer, family in {"gat": DROPIN_GAT, "gatv2": DROPIN_GATV2, "transformer": DROPIN_TRANSFORMER}.items():
        yield Case("dropin", f"dropin-{layer}-power-law", family, "power-law-100k", 8, 8, bars=bars, memory=True)
    for graph, least in {"molecules-even": 1, "molecules-one-large": 8}.items():
        name, bars = f"dropin-gps-{graph}", (Bar("step pyg/ours", least),)
        yield Case("dropin", name, DROPIN_GPS, graph, 4, 16, bars=bars, memory=True)


AnyCase = TypeVar("AnyCase", bound=Case)
_MAKERS = (_op_cases, _layer_cases, _molecule_cases, _linear_cases, _other_cases, _dropin_cases)
CASES: dict[str, Case] = {case.name: case for cases in _MAKERS for case in cases()}


def select(patterns: Sequence[str], among: Mapping[str, AnyCase] = CASES) -> list[AnyCase]:
    """The cases that any of the patterns names: a name, a group, or a shell pattern such as "op-*-8x8"; all without one."""
    for pattern in patterns:
        if not any(_matches(case, pattern) for case in among.values()):
            raise InputError(f"CASE must name a case, a group or a pattern of names (see `list`), got {pattern!r}")
    return [case for case in among.values() if not patterns or any(_matches(case, pattern) for pattern in patterns)]


def _matches(case: Case, pattern: str) -> bool:
    return pattern == case.group or fnmatch.fnmatchcase(case.name, pattern)
