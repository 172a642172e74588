"""Every kernel that attention launches compiles for a Hopper chip, on any machine; those of the usual forms spill nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

MOST_STACK = 64  # bytes of a thread that may find no register in the usual forms


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """In a process that does not interpret, and that finds no kernel compiled before."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"GRAPHATTN_BACKEND": "triton", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    command = [sys.executable, str(Path(__file__).with_name("compile_kernels.py"))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
def test_every_form_compiles_forward_and_backward(compiled: list[dict[str, Any]]) -> None:
    kernels: dict[str, set[str]] = {}
    for kernel in compiled:
        kernels.setdefault(kernel["form"], set()).add(kernel["kernel"])
    assert len(kernels) == 17
    assert all(len(names) >= 2 for names in kernels.values())
    assert {"forward", "backward_rows", "backward_columns", "merge", "merge_rows", "merge_columns"} <= set().union(
        *kernels.values()
    )


@pytest.mark.slow
def test_the_usual_forms_stay_in_registers(compiled: list[dict[str, Any]]) -> None:
    usual = [kernel for kernel in compiled if kernel["usual"]]
    assert len(usual) >= 15
    spilling = {(kernel["form"], kernel["kernel"]): kernel["stack"] for kernel in usual if kernel["stack"] > MOST_STACK}
    assert not spilling


@pytest.mark.slow
def test_the_usual_forms_read_128_bits_at_a_time(compiled: list[dict[str, Any]]) -> None:
    narrow = [(kernel["form"], kernel["kernel"]) for kernel in compiled if kernel["usual"] and 128 not in kernel["bits"]]
    assert not narrow
