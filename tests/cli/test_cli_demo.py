"""`graphattn demo`, with fewer epochs for the molecules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import read_csv

from graphattn.runs import demo


def test_the_demo_does_both_jobs_twice_over(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo._MOLECULE_PARAMS, "epochs", 2)
    result = cli("demo")
    assert result.code == 0, result.err
    assert "COMPUTED, not measured" in result.err
    assert "crippen " not in result.err
    network, molecules = Path("runs/demo/network"), Path("runs/demo/molecules")
    metrics = json.loads((network / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= metrics["baselines"]["label_propagation"]["accuracy"] > 0.9
    assert len(read_csv(network / "labels.csv")) == 34
    assert (network / "network.png").read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((molecules / "metrics.json").read_text())
    assert metrics["test"]["rmse"] < metrics["baselines"]["mean"]["rmse"]
    assert (molecules / "parity.png").exists()

    before = (network / "model.safetensors").read_bytes()
    demo.demo_network(network)
    assert (network / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in Path("runs/demo").iterdir()) == ["molecules", "network"]
