"""Sphinx: `make docs` builds the site in docs/_build/html."""

from __future__ import annotations

import importlib
import re
import types
from pathlib import Path

import graphattn

project = "graphattn"
author = "The graphattn authors"
copyright = "The graphattn authors"
version = release = graphattn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "figures", "sg_execution_times.rst", "gallery/*.ipynb", "gallery/*.py"]
highlight_language = "none"  # of blocks without a language: commands and what they print
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["pictures.css"]
html_title = f"graphattn {release}"

autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Shapes", "returns_style"), ("Raises", "returns_style"), ("Yields", "returns_style")]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3


# The scripts of examples/ run, one after the other, and their pictures are shown; those that did not change run once.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "image_srcset": ["2x"],
}


def _in_the_repository(app: object, page: str, source: list[str]) -> None:
    """Links from a guide to files outside docs/ are for readers of the repository.

    On the site an example is a page of the gallery, and of other files the path is shown.
    """

    def said(link: re.Match[str]) -> str:
        text, path = link.groups()
        if path.split("/")[0] == "examples":
            return f"[{text}](gallery/{Path(path).stem}.rst)" if path.endswith(".py") else f"[{text}](gallery/index.rst)"
        return f"`{path}`" if text in (path, Path(path).name) else f"{text} (`{path}`)"

    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)", said, source[0])


def setup(app: object) -> None:
    app.connect("source-read", _in_the_repository)  # type: ignore[attr-defined]


# The methods that scikit-learn makes for every estimator are not ours to describe.
_OF_A_CLASS = [
    "   :members:",
    "   :exclude-members: " + ", ".join(f"set_{of}_request" for of in ("fit", "score", "predict", "predict_proba")),
]
_OF_A_CLASS[1] += ", get_metadata_routing"
_PAGES = {
    "estimators": ("graphattn.estimators", "Estimators"),
    "ops": ("graphattn.ops", "Operators"),
    "nn": ("graphattn.nn", "Layers and models"),
    "conv": ("graphattn.nn.conv", "Drop-in layers"),
    "structure": ("graphattn.structure", "Structure"),
    "chem": ("graphattn.chem", "Molecules"),
    "networks": ("graphattn.networks", "Networks"),
    "data": ("graphattn.data", "Data sets"),
    "uncertainty": ("graphattn.uncertainty", "Uncertainty"),
    "package": ("graphattn", "Top level"),  # last: what no other page has
}


def _entry(name: str, thing: object) -> list[str]:
    if isinstance(thing, type):
        return [f".. autoclass:: {name}", *_OF_A_CLASS, ""]
    if callable(thing):
        return [f".. autofunction:: {name}", ""]
    entries = ", ".join(f"``{entry}``" for entry in thing) if isinstance(thing, (dict, list, tuple)) else f"``{thing!r}``"
    return [f".. py:data:: {name}", "", f"   {entries}", ""]


def _api_pages() -> None:
    """A page for each package, with the names that it exports: none can be forgotten, and none is listed that is gone."""
    folder, known = Path(__file__).parent / "api", set()
    for path in folder.glob("*.rst"):  # of an earlier build, when there were other packages
        if path.stem not in {*_PAGES, "index"}:
            path.unlink()
    for page, (package, title) in _PAGES.items():
        module = importlib.import_module(package)
        lines = [title, "=" * len(title), "", f".. currentmodule:: {package}", ""]
        for name in module.__all__:
            thing = getattr(module, name)
            hidden = isinstance(thing, (types.UnionType, types.ModuleType)) or name == "__version__"
            if id(thing) not in known and not hidden:  # a name of two packages stands once
                lines += _entry(name, thing)
            known.add(id(thing))
        (folder / f"{page}.rst").write_text("\n".join(lines), encoding="utf-8")


_api_pages()
