"""Names of packages that are imported on first use."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["graphattn", "graphattn.chem", "graphattn.data", "graphattn.estimators"])
def test_every_name_is_where_the_stub_says(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        # A function may have the name of the module that defines it.
        assert getattr(thing, "__name__", name).rpartition(".")[2] == name
    assert set(dir(module)) >= set(module.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = module.nothing


def test_a_package_imports_none_of_its_libraries() -> None:
    code = "import sys, graphattn, graphattn.chem, graphattn.data, graphattn.estimators\n"
    code += "assert not {'numpy', 'pandas', 'torch', 'rdkit', 'sklearn', 'pooch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
