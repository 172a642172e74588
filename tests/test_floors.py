"""The floors of the house: imports point down only, see the table of packages in CONTRIBUTING.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import graphattn

ROOT = Path(graphattn.__file__).parent

# From the ground up; packages of one floor may not import each other unless `BESIDE` says so.
FLOORS: list[set[str]] = [
    {"_version", "errors", "cache"},
    {"tables", "splits"},
    {"ops"},
    {"structure", "data", "chem", "networks", "sequences"},
    {"nn"},
    {"train", "uncertainty", "explain"},
    {"estimators"},
    {"runs"},
    {"cli"},
]
# Packages of one floor that may import another of it: the catalogue makes molecules and networks.
BESIDE = {("data", "chem"), ("data", "networks"), ("uncertainty", "train"), ("explain", "train")}
# What is still wrong: (module, package that it imports).
ALLOWED: set[tuple[str, str]] = set()


def floor_of(package: str) -> int:
    found = [number for number, floor in enumerate(FLOORS) if package in floor]
    assert found, f"graphattn.{package} is on no floor: add it to FLOORS"
    return found[0]


def imports(source: str) -> set[str]:
    """The packages of graphattn that a module imports, anywhere but under TYPE_CHECKING; "" is graphattn itself."""
    found = set()
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            below = [f"graphattn.{alias.name}" for alias in node.names]
            names = below if node.module == "graphattn" else [node.module or ""]
        for name in names:
            parts = name.split(".")
            if parts[0] == "graphattn":
                found.add(parts[1] if len(parts) > 1 else "")
    return found


def upward(package: str, imported: set[str]) -> set[str]:
    """Those of the imported packages that this package may not import."""
    known = {name for floor in FLOORS for name in floor}
    wrong = set()
    for other in (imported & known) - {package}:
        if floor_of(other) > floor_of(package) or (floor_of(other) == floor_of(package) > 1 and (package, other) not in BESIDE):
            wrong.add(other)
    return wrong


def modules() -> list[Path]:
    return [
        path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.name not in ("__init__.py", "__main__.py")
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts)
    wrong = {other for other in upward(parts[0], imports(path.read_text(encoding="utf-8"))) if (name, other) not in ALLOWED}
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}, on its own floor or above"


def test_every_exception_is_still_needed() -> None:
    for name, other in ALLOWED:
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        assert other in upward(name.split(".")[0], imports(path.read_text(encoding="utf-8"))), (name, other)


def test_an_upward_import_is_found() -> None:
    assert imports("import graphattn.cli.screen\nfrom graphattn import estimators") == {"cli", "estimators"}
    assert imports("def f():\n    from graphattn.runs import x") == {"runs"}
    assert imports("if TYPE_CHECKING:\n    from graphattn.runs import x\nelse:\n    from graphattn.nn import y") == {"nn"}
    assert upward("nn", {"ops", "structure", "nn"}) == set()
    assert upward("nn", {"train", "ops"}) == {"train"}
    assert upward("chem", {"networks"}) == {"networks"}
    assert upward("cli", {"runs", "estimators"}) == set()
