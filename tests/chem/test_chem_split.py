"""The scaffold split: no scaffold in two parts, sizes near the fractions, the literature's split reproduced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphattn.chem import scaffold, scaffold_split
from graphattn.errors import InputError
from graphattn.splits import PARTS

RINGS = ["C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1", "c1ccccc1", "c1ccncc1", "C1CCOC1", "c1ccc2ccccc2c1", "c1ccsc1", ""]


def test_scaffolds_by_hand() -> None:
    assert scaffold("CC(=O)Oc1ccccc1C(=O)O") == "c1ccccc1"  # aspirin
    assert scaffold("OC(c1ccccc1)C1CCNCC1") == "c1ccc(CC2CCNCC2)cc1"  # rings and the linker between them
    assert scaffold("CC[C@H](C)O") == ""  # no ring
    assert scaffold("C[C@H]1CCCO1") == scaffold("C[C@@H]1CCCO1") == "C1CCOC1"
    assert scaffold("[C@@H]1(c2ccccc2)CCCO1") == scaffold("C1(c2ccccc2)CCCO1")
    assert scaffold("xyz") is None


@given(
    rows=st.lists(st.tuples(st.sampled_from(RINGS), st.integers(1, 4)), min_size=3, max_size=40),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.1, 0.1, 0.8), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (1 / 3, 1 / 3, 1 / 3)]),
    seed=st.one_of(st.none(), st.integers(0, 5)),
)
def test_every_row_once_and_no_scaffold_twice(
    rows: list[tuple[str, int]], fractions: tuple[float, float, float], seed: int | None
) -> None:
    smiles = ["C" * chain + ring for ring, chain in rows]
    parts = scaffold_split(smiles, fractions, seed)
    assert list(parts) == list(PARTS)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows)))
    for part in parts.values():
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    scaffolds = [{rows[row][0] for row in part} for part in parts.values()]
    assert sum(map(len, scaffolds)) == len(set.union(*scaffolds))
    for part, fraction in zip(parts.values(), fractions, strict=True):
        assert fraction > 0 or len(part) == 0
    again = scaffold_split(smiles, fractions, seed)
    assert all(np.array_equal(parts[name], again[name]) for name in PARTS)


def test_sizes_are_met_where_scaffolds_are_small() -> None:
    smiles = ["C1CC1" + "C" * n + "C1CC1" for n in range(100)]  # 100 scaffolds with one molecule each
    parts = scaffold_split(smiles, (0.7, 0.2, 0.1), seed=3)
    assert [len(part) for part in parts.values()] == [70, 20, 10]


def test_large_scaffolds_go_to_train_and_the_seed_shuffles_the_rest() -> None:
    single = ["C1CC1" + "C" * n + "C1CC1" for n in range(60)]
    smiles = [*single, *["C" * n for n in range(1, 41)]]  # and one of 40: all without a ring
    splits = [scaffold_split(smiles, seed=seed) for seed in range(5)]
    for parts in splits:
        assert set(range(60, 100)) <= set(parts["train"].tolist())
        assert [len(part) for part in parts.values()] == [80, 10, 10]
    assert len({tuple(parts["test"].tolist()) for parts in splits}) == 5


def test_one_scaffold_for_all_goes_to_train() -> None:
    parts = scaffold_split(["C" * n for n in range(1, 31)])
    assert [len(part) for part in parts.values()] == [30, 0, 0]


def test_bad_rows_are_in_no_part() -> None:
    parts = scaffold_split(["C", "xyz", "c1ccccc1", None, "C1CC1", ""], (0.4, 0.3, 0.3))
    assert sorted(np.concatenate(list(parts.values())).tolist()) == [0, 2, 4]


def test_bad_input() -> None:
    with pytest.raises(InputError, match="one string"):
        scaffold_split("CCO")
    with pytest.raises(InputError, match=r"sum to 0\.9"):
        scaffold_split(["C", "CC", "CCC"], (0.7, 0.1, 0.1))
    with pytest.raises(InputError, match="0 usable rows are too few"):
        scaffold_split(["xyz", None])


@pytest.mark.parametrize(("folder", "file"), [("lipophilicity", "Lipophilicity.csv"), ("esol", "delaney-processed.csv")])
def test_without_a_seed_it_is_the_split_of_the_literature(real_data: Path, folder: str, file: str) -> None:
    smiles = pd.read_csv(real_data / folder / file)["smiles"]
    expected = json.loads((real_data / folder / "scaffold_split_80_10_10.json").read_text())
    parts = scaffold_split(smiles, seed=None)
    for name in PARTS:
        assert parts[name].tolist() == sorted(expected[name])
