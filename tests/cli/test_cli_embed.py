"""`graphattn embed`: the vectors that a run's predictions are made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from cli_cases import read_csv, write_csv

from graphattn import MoleculeRegressor


def test_csv_and_npy_hold_the_vectors_of_the_estimator(molecules: Callable) -> None:
    write_csv(Path("in.csv"), ["name", "smiles"], [["a", "CCO"], ["b", "not one"], ["c", "c1ccccc1"]])
    result = molecules("embed", "run", "in.csv", "--out", "out.csv")
    assert result.code == 0, result.err
    assert "vectors of 2 of 3 rows are in out.csv" in result.err
    assert "1 rows without a vector: SMILES cannot be read" in result.err
    rows = read_csv(Path("out.csv"))
    vectors = MoleculeRegressor.from_pretrained("run").embed(["CCO", "not one", "c1ccccc1"])
    assert list(rows[0]) == ["name", "smiles", *(f"embedding_{place}" for place in range(vectors.shape[1])), "error"]
    found = [[float(row[f"embedding_{place}"] or "nan") for place in range(vectors.shape[1])] for row in rows]
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), vectors)
    assert np.isnan(vectors[1]).all()
    assert rows[1]["error"].startswith("SMILES cannot be read")

    assert molecules("embed", "run", "in.csv", "--out", "out.npy", "--quiet").code == 0
    array = np.load("out.npy")
    np.testing.assert_array_equal(array, vectors)
    assert array.dtype == np.float32
    assert molecules("embed", "run", "in.csv", "--out", "out.npy").code == 2


def test_a_run_on_a_network_is_refused(nodes: Callable) -> None:
    result = nodes("embed", "run", "people.csv", "--out", "out.csv")
    assert result.code == 2
    assert "embed is for runs on molecules" in result.error
