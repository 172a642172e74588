"""Random splits, the text of `--split`, and split files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphattn.errors import InputError
from graphattn.splits import PARTS, SplitColumn, parse_split, part_sizes, quantiles, random_split, read_split_file


@given(
    n=st.integers(3, 200),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.1, 0.1, 0.8), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)]),
    seed=st.integers(0, 3),
)
def test_a_random_split_uses_every_row_once(n: int, fractions: tuple[float, float, float], seed: int) -> None:
    parts = random_split(n, fractions, seed)
    assert list(parts) == list(PARTS)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(n))
    for part, fraction in zip(parts.values(), fractions, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert abs(len(part) - fraction * n) <= 2
        assert (len(part) > 0) == (fraction > 0)


def test_the_seed_is_the_split() -> None:
    one, same, other = random_split(50, seed=0), random_split(50, seed=0), random_split(50, seed=1)
    assert all(np.array_equal(one[part], same[part]) for part in PARTS)
    assert not np.array_equal(one["test"], other["test"])


def test_part_sizes_by_hand() -> None:
    assert part_sizes(4200, (0.8, 0.1, 0.1)) == (3360, 420, 420)
    assert part_sizes(22_470, (0.1, 0.1, 0.8)) == (2247, 2247, 17_976)
    assert part_sizes(10, (1 / 3, 1 / 3, 1 / 3)) == (4, 3, 3)
    assert part_sizes(3, (0.8, 0.1, 0.1)) == (1, 1, 1)
    assert part_sizes(1, (1.0, 0.0, 0.0)) == (1, 0, 0)
    with pytest.raises(InputError, match=r"2 usable rows are too few for a 0\.8/0\.1/0\.1 split"):
        part_sizes(2, (0.8, 0.1, 0.1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scaffold", "scaffold"),
        ("random", "random"),
        ("stratified", "stratified"),
        ("column: part ", SplitColumn("part")),
        ("0.1/0.1/0.8", (0.1, 0.1, 0.8)),
        ("1/0/0", (1.0, 0.0, 0.0)),
        (" .5/.25/.25 ", (0.5, 0.25, 0.25)),
        ("0.3333333/0.3333333/0.3333333", (0.3333333, 0.3333333, 0.3333333)),
        ("my/own/split.json", Path("my/own/split.json")),
        ("SPLIT.JSON", Path("SPLIT.JSON")),
    ],
)
def test_parse_split(text: str, expected: object) -> None:
    assert parse_split(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.8/0.2", "has 2 fractions"),
        ("0.8", "has 1 fractions"),
        ("0.7/0.1/0.1", "sum to 0.9, but must sum to 1"),
        ("8/1/1", "sum to 10"),
        ("1.2/-0.1/-0.1", "negative"),
        ("nan/0.5/0.5", "not a number"),
        ("clustered", "split is 'clustered', but must be scaffold, random, stratified"),
        ("a/b/c", "split is 'a/b/c'"),
        ("", "split is ''"),
    ],
)
def test_parse_split_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_split(text)


def test_a_column_of_parts() -> None:
    split = SplitColumn("part").parts(["train", " Test", "validation", "", "train", "VAL"])
    assert {part: rows.tolist() for part, rows in split.items()} == {"train": [0, 4], "valid": [2, 5], "test": [1]}
    with pytest.raises(InputError, match=r"column 'part' must hold.*1 cells hold others, such as 'tset'"):
        SplitColumn("part").parts(["train", "tset"])


def test_quantiles_by_hand() -> None:
    assert quantiles(np.array([5.0, 1, 9, 7]), 2).tolist() == [0, 0, 1, 1]
    assert quantiles(np.arange(30.0)).tolist() == [row // 3 for row in range(30)]
    assert quantiles(np.array([2.0, 1])).tolist() == [1, 0]
    assert quantiles(np.array([])).tolist() == []


def test_a_split_file_survives_the_round_trip(tmp_path: Path) -> None:
    split = random_split(30)
    (tmp_path / "split.json").write_text(json.dumps({part: split[part].tolist() for part in PARTS}))
    back = read_split_file(tmp_path / "split.json", 30)
    assert all(np.array_equal(split[part], back[part]) and back[part].dtype == np.int64 for part in PARTS)


def test_a_split_file_may_leave_rows_out_and_hold_more(tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text('\ufeff{"train": [5, 0], "valid": [], "test": [2], "note": "mine"}', encoding="utf-8")
    split = read_split_file(str(file), 6)
    assert {part: rows.tolist() for part, rows in split.items()} == {"train": [0, 5], "valid": [], "test": [2]}
    assert split["valid"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1, 2]", "holds a JSON list"),
        ({"train": [0], "test": [1]}, "has no 'valid'"),
        ({"train": 0, "valid": [], "test": [1]}, "'train' must be a list"),
        ({"train": [0.0], "valid": [], "test": [1]}, "holds 0.0, which is not a row number"),
        ({"train": [True], "valid": [], "test": [1]}, "holds True, which"),
        ({"train": ["0"], "valid": [], "test": [1]}, "holds '0', which"),
        ({"train": [0], "valid": [], "test": [3]}, "'test' holds row 3, but the table has rows 0 to 2"),
        ({"train": [-1], "valid": [], "test": [1]}, "'train' holds row -1"),
        ({"train": [0, 1], "valid": [], "test": [1]}, "row 1 twice, in 'train' and in 'test'"),
        ({"train": [0, 0], "valid": [], "test": [1]}, "row 0 twice, in 'train' and in 'train'"),
    ],
)
def test_a_bad_split_file_is_refused(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "split.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        read_split_file(file, 3)
    assert str(file) in str(error.value)


def test_a_split_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_split_file(tmp_path / "none.json", 3)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not valid JSON"):
        read_split_file(tmp_path / "bytes.json", 3)


@pytest.mark.parametrize("seed", range(20))
def test_a_split_of_classes_has_its_share_of_each(seed: int) -> None:
    """Six positives of 200: one each for valid and test; without classes, eleven of twenty seeds have none in test."""
    classes = [1] * 6 + [0] * 194
    parts = random_split(200, (0.8, 0.1, 0.1), seed, classes)
    assert {name: (len(rows), int((rows < 6).sum())) for name, rows in parts.items()} == {
        "train": (160, 4),
        "valid": (20, 1),
        "test": (20, 1),
    }
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(200))


def test_classes_must_be_one_for_each_row() -> None:
    with pytest.raises(InputError, match="one entry for each of 10 rows, got 9"):
        random_split(10, classes=["a"] * 9)
