"""What cells mean: missing values, numbers as people write them, labels."""

from __future__ import annotations

import numpy as np
import pytest

from graphattn.errors import InputError
from graphattn.tables import is_missing, labels, meaning, numbers


def test_markers_of_missing_values() -> None:
    """Those of pandas, and "?"; but no class of that kind, such as the symbol of sodium."""
    for text in ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None", "NaN", "nan", "NAN", "?", "-nan"):
        assert is_missing(text), text
    for text in ("Na", "none", "no", "0", "-", "missing", "unknown", "Null", "na"):
        assert not is_missing(text), text


def read(*cells: str) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in numbers(cells)[0]]


def test_decimal_commas_where_the_whole_column_has_them() -> None:
    assert read("1,5", "2", "-0,25", "", "NA", "3,0e-2", " 12,34 ") == [1.5, 2, -0.25, None, None, 0.03, 12.34]
    assert read("1,5", "2.5") == [None, 2.5]
    assert read("1,234", "2") == [None, 2]  # a thousand, perhaps
    assert read("1,5", "high") == [None, None]
    assert read("1,5,5", "2,5") == [None, None]


def test_a_minus_of_unicode() -> None:
    assert read("\N{MINUS SIGN}1.5", "2", "\N{MINUS SIGN}0,5") == [-1.5, 2, None]
    assert read("\N{MINUS SIGN}0,5", "1,5") == [-0.5, 1.5]


def test_why_cells_cannot_be_used() -> None:
    cells = ["", " ", "NA", "?", "None", "nan", "inf", "-inf", "high", "1_000", ">5", "5 uM", "7"]
    assert numbers(cells)[1] == {"empty": 2, "missing": 3, "not finite": 3, "not a number": 4}


def test_labels_that_are_equal_as_numbers_are_one_class() -> None:
    found, notes = labels(["1", "1.0", "2", " 1 ", "1.0", "2.0", "NA", "", "x"], "column 'y'")
    assert found == ["1", "1", "2", "1", "1", "2", None, None, "x"]
    assert notes == ["column 'y': labels that are equal as numbers are one class: 1 and 1.0; 2 and 2.0"]
    assert labels(["1.0", "1.0", "1"], "y")[0] == ["1.0"] * 3  # as most are written
    assert labels(["01", "1"], "y")[0] == ["1", "1"]


def test_labels_that_differ_by_case_are_named() -> None:
    found, notes = labels(["Active", "active", "True", "true", "other"], "y")
    assert found == ["Active", "active", "True", "true", "other"]
    said = "y: labels that differ by upper and lower case alone are different classes: Active and active; True and true"
    assert notes == [said]
    assert labels(["a", "b"], "y")[1] == []


def test_a_label_of_its_own_for_most_rows_is_no_class() -> None:
    message = (
        "^y has 25 different labels in 25 rows, such as '0.5', '1.5', '2.5': no classes; for numbers use --task regression$"
    )
    with pytest.raises(InputError, match=message):
        labels([f"{row}.5" for row in range(25)], "y")
    with pytest.raises(InputError, match=r"no classes$"):
        labels([f"name {row}" for row in range(25)], "y")
    assert len(set(labels([f"{row}.5" for row in range(25)], "y", names_rows=True)[0])) == 25
    assert len(labels([f"{row}" for row in range(19)], "y")[0]) == 19  # so few may be classes
    assert len(labels([f"{row % 20}" for row in range(40)], "y")[0]) == 40


def test_what_a_label_means() -> None:
    assert meaning("1.0") == meaning("1") == meaning(1) == 1
    assert meaning("a") == "a"
