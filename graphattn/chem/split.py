"""Scaffold split: test molecules have ring systems that no training molecule has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from graphattn.chem.murcko import scaffold
from graphattn.errors import InputError
from graphattn.splits import DEFAULT_FRACTIONS, PARTS, Split, part_sizes


def scaffold_split(smiles: Iterable[object], fractions: Sequence[float] = DEFAULT_FRACTIONS, seed: int | None = 0) -> Split:
    """Split molecules into train, valid and test such that no scaffold is in two parts.

    One scaffold after the other goes to the first part with room for all of its molecules, or where none has to the
    part with the most room. Scaffolds with more molecules than half of valid or of test come first, so that they land
    in train; the others follow in an order that the seed shuffles.

    Args:
        smiles: SMILES, one a row; bad ones are in no part.
        fractions: of train, valid and test; they sum to 1, and the parts come as near to them as the scaffolds allow.
        seed: another seed gives another split; None: the largest scaffold first, the one fixed split of the literature.

    Raises:
        InputError: `smiles` is one string, bad fractions, or fewer good molecules than parts.
    """
    if isinstance(smiles, str):
        raise InputError(f"smiles is one string, {smiles[:60]!r}, but must be a list of them")
    return split_by_scaffold([scaffold(text) for text in smiles], fractions, seed)


def split_by_scaffold(
    scaffolds: Iterable[str | None], fractions: Sequence[float] = DEFAULT_FRACTIONS, seed: int | None = 0
) -> Split:
    """`scaffold_split` of rows whose scaffolds are known; None is in no part."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(scaffolds):
        if name is not None:
            members[name].append(row)
    # Equally large scaffolds: the later first row goes first, as in the split files in circulation.
    groups = sorted(members.values(), key=lambda rows: (-len(rows), -rows[0]))
    sizes = part_sizes(sum(map(len, groups)), fractions)

    if seed is not None:
        large = min((size for size in sizes[1:] if size), default=0) / 2
        rest = [rows for rows in groups if len(rows) <= large]
        order = np.random.default_rng(seed).permutation(len(rest))
        groups = groups[: len(groups) - len(rest)] + [rest[k] for k in order]

    room = list(sizes)
    parts: list[list[int]] = [[], [], []]
    for rows in groups:
        fits = [part for part in range(3) if len(rows) <= room[part]]
        wanted = [part for part in range(3) if sizes[part]]
        part = fits[0] if fits else max(wanted, key=lambda part: room[part])
        parts[part] += rows
        room[part] -= len(rows)
    return {name: np.array(sorted(rows), dtype=np.int64) for name, rows in zip(PARTS, parts, strict=True)}
