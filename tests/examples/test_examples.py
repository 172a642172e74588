"""Every example runs and reaches the score that it asserts."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    """As a script of its own, but for its imports, which take longer than some examples do."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    with torch.random.fork_rng():
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            plt.close("all")
    assert capsys.readouterr().out.strip()
