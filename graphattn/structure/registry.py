"""The registry of encodings, pair biases and extra edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from graphattn.errors import InputError
from graphattn.structure.kind import Encoding, ExtraEdges, PairBias, Structure
from graphattn.structure.transform import Place

# Option of a model → name → the class that knows this kind.
STRUCTURE: dict[str, dict[str, type[Structure]]] = {base.option: {} for base in (Encoding, PairBias, ExtraEdges)}
Options = Mapping[str, int] | None
Kind = TypeVar("Kind", bound=type[Structure])


def register_structure(kind: Kind) -> Kind:
    """Makes an encoding, a pair bias or a kind of extra edges known everywhere under its `name`; usable as a decorator.

    Models, estimators, `structure_transform`, `precompute`, the command line and saved models then take it like those of
    this package.

    Args:
        kind: a subclass of `Encoding`, `PairBias` or `ExtraEdges`.

    Raises:
        InputError: where it is none of these, or the name is missing or taken.

    Example:
        >>> @register_structure  # doctest: +SKIP
        ... class Triangles(Encoding):
        ...     name, reads, computed_by = "triangles", ("triangles_pe",), AddTriangles
    """
    if not (isinstance(kind, type) and issubclass(kind, (Encoding, PairBias, ExtraEdges))):
        raise InputError(f"kind must be a subclass of Encoding, PairBias or ExtraEdges, got {kind!r}")
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"{kind.__name__}.name must be an identifier, got {name!r}")
    known = STRUCTURE[kind.option]
    if known.get(name, kind) is not kind:
        raise InputError(f"{kind.option} {name!r} is already registered, by {known[name].__name__}")
    known[name] = kind
    return kind


def structure_of(option: str, name: str) -> type[Structure]:
    """The class of a kind.

    Raises:
        InputError: on an unknown name; it lists those that are known.
    """
    known = STRUCTURE[option]
    if name not in known:
        raise InputError(f"{option} must be among {', '.join(known)}, got {name!r}")
    return known[name]


def kinds_of(options: Mapping[str, Options]) -> Iterator[tuple[type[Structure], int]]:
    """Every kind that options name, checked, and its number.

    Args:
        options: "encodings", "biases" and "extra_edges" → name → number.

    Raises:
        InputError: on an unknown name, or a number that a kind does not take.
    """
    for option, given in options.items():
        for name, number in (given or {}).items():
            kind = structure_of(option, name)
            kind.check(number)
            yield kind, number


def attributes_at(*places: Place) -> set[str]:
    """The attributes at these places, of the transforms of all registered kinds."""
    transforms = [kind.computed_by for known in STRUCTURE.values() for kind in known.values() if kind.computed_by is not None]
    return {name for transform in transforms for name, place in transform.adds.items() if place in places}


def structure_transform(encodings: Options = None, biases: Options = None, extra_edges: Options = None) -> Compose:
    """The transform that adds everything that a `graphattn.nn.GraphTransformer` with these options reads, each once.

    Raises:
        InputError: on an unknown name, a number that a kind does not take, or two options that need different values of the
            same attribute.
    """
    made: dict[type, BaseTransform] = {}
    for kind, number in kinds_of({"encodings": encodings, "biases": biases, "extra_edges": extra_edges}):
        transform = kind.transform(number)
        if transform is None:
            continue
        before = made.setdefault(type(transform), transform)
        if repr(before) != repr(transform):
            raise InputError(
                f"{kind.option} {kind.name!r} needs {transform}, but another option has {before}: give both the same number"
            )
    return Compose(list(made.values()))


def augment(data: Data, options: Mapping[str, Options], generator: torch.Generator) -> None:
    """Applies the augmentation of every kind in `options` to a batch, in place; see `Structure.augment`."""
    for kind, _ in kinds_of(options):
        for name, value in kind.augment(data.to_dict(), data.batch, generator).items():
            data[name] = value
