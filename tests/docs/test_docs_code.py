"""The Python of README and the documentation runs: each page in one namespace, with small data for the names it assumes."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GATv2Conv

from graphattn.ops import NORMALISERS, SCORES, AdjacencyMask
from graphattn.structure import STRUCTURE

ROOT = Path(__file__).parents[2]
# Page → number of its blocks: a page that is not listed, or has another number, is a change to look at.
BLOCKS = {
    "README.md": 3,
    "docs/cpu_kernels.md": 6,
    "docs/drop_in.md": 4,
    "docs/gpu_kernels.md": 1,
    "docs/layers.md": 3,
    "docs/structure.md": 2,
    "docs/tutorial_molecules.md": 6,
    "docs/tutorial_network.md": 5,
    "docs/tutorial_pyg_model.md": 5,
}
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


class Model(torch.nn.Module):
    """A PyG model to accelerate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = GATv2Conv(64, 8, heads=8)


def stand_ins() -> dict[str, Any]:
    """What a page takes for granted, by the names it uses."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(12, (2, 40), generator=generator)
    smiles = ["C" * length + end for length in range(1, 7) for end in ("O", "N", "Cl")]
    mask = torch.arange(12) < 8
    return {
        "smiles": smiles,
        "logd": [float(len(text)) for text in smiles],
        "data": Data(edge_index=edge_index, y=torch.arange(12) % 2, x=torch.randn(12, 3, generator=generator), num_nodes=12),
        "train_mask": mask,
        "valid_mask": ~mask,
        "edge_index": edge_index,
        "edge_attr": torch.randn(40, 11, generator=generator),
        "x": torch.randn(12, 64, generator=generator),
        "batch": torch.arange(12) // 6,
        "num_nodes": 12,
        "model": Model(),
        "AdjacencyMask": AdjacencyMask,
    }


@pytest.fixture
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files are written elsewhere; the number of threads and the registries are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    registries: list[dict[str, Any]] = [NORMALISERS, SCORES, *STRUCTURE.values()]
    threads, known = torch.get_num_threads(), [set(registry) for registry in registries]
    yield
    torch.set_num_threads(threads)
    for registry, names in zip(registries, known, strict=True):
        for name in set(registry) - names:
            del registry[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("restored")
def test_page(page: str) -> None:
    code = blocks(page)
    assert len(code) == BLOCKS.get(page, 0)
    namespace = stand_ins()
    for number, block in enumerate(code):
        # README accelerates the model of a reader, not the one that it has just trained.
        namespace["model"] = Model() if "accelerate(model)" in block else namespace["model"]
        exec(compile(block, f"{page}, block {number + 1}", "exec"), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository(page: str) -> None:
    """Every relative link of a page leads to a file that is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_the_picture_of_the_packages_has_them_all() -> None:
    """docs/figures/floors.py has a line for every package: after a new one, add it there and draw the picture again."""
    drawn = {name for floor in runpy.run_path(str(ROOT / "docs" / "figures" / "floors.py"))["floors"]() for name in floor}
    packages = {path.parent.name for path in (ROOT / "graphattn").glob("*/__init__.py")}
    assert packages <= drawn


def test_the_figures_of_drop_in_layers_are_those_of_the_benchmarks() -> None:
    cases = json.loads((ROOT / "benchmarks" / "results" / "dropin.json").read_text(encoding="utf-8"))["cases"]
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    table = page.partition("## Attention alone")[0]
    rows = re.findall(r"^\| .* \| ([\d.]+)× \| ([\d.]+)× \| ([\d.]+)× \|$", table, re.MULTILINE)
    measured = [[case["figures"][f"{what} pyg/ours"] for what in ("forward", "step", "memory")] for case in cases.values()]
    assert len(rows) == len(measured)
    said = sorted([float(number) for number in row] for row in rows)
    for row, figures in zip(said, sorted(measured), strict=True):
        assert row == pytest.approx(figures, abs=0.06, rel=0.02)
    gatv2 = cases["dropin-gatv2-power-law"]["figures"]
    found = re.search(r"\*\*(\d+)× faster, (\d+)× less memory\*\*", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    assert [int(number) for number in found.groups()] == [round(gatv2["step pyg/ours"]), round(gatv2["memory pyg/ours"])]
