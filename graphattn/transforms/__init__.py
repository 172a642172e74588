"""Transforms of a graph, once: structural encodings, biases on pairs, edges beyond its own, and the order of its nodes.

A new one is a file here and a line in one of the three tables below.
"""

from collections.abc import Callable, Mapping

from torch_geometric.transforms import BaseTransform, Compose

from graphattn.errors import InputError
from graphattn.transforms.cycles import AddCycleCounts
from graphattn.transforms.degree import AddDegree
from graphattn.transforms.distance import AddDistance
from graphattn.transforms.expander import AddExpander
from graphattn.transforms.k_hop import AddKHop
from graphattn.transforms.laplacian import AddLaplacian, flip_signs
from graphattn.transforms.position import AddPosition
from graphattn.transforms.precompute import precompute
from graphattn.transforms.random_walk import AddRandomWalk
from graphattn.transforms.relative_walk import AddRelativeWalk
from graphattn.transforms.reorder import Reorder
from graphattn.transforms.resistance import AddResistance


def _add_degree(columns: int) -> AddDegree:
    if columns not in (1, 2):
        raise InputError(f"the degree has 1 column, or 2 for in- and out-degree, got {columns}")
    return AddDegree("both" if columns == 2 else "in")


Make = Callable[[int], BaseTransform]

ENCODING_TRANSFORMS: dict[str, Make] = {
    "degree": _add_degree,
    "degree_bucket": _add_degree,
    "random_walk": AddRandomWalk,
    "cycles": lambda columns: AddCycleCounts(columns + 2),
    "sinusoidal": lambda columns: AddPosition(),
    "learned": lambda columns: AddPosition(),
    "laplacian": AddLaplacian,
    "sign_invariant": AddLaplacian,
}

# Those of `graphattn.nn.BIASES`.
BIAS_TRANSFORMS: dict[str, Make] = {
    "distance": AddDistance,
    "relative_walk": AddRelativeWalk,
    "resistance": lambda columns: AddResistance(),
}

# Those of `graphattn.nn.ExtraEdges`.
EDGE_TRANSFORMS: dict[str, Make] = {
    "k_hop": lambda k: AddKHop(k, first=2),
    "expander": AddExpander,
}
# A bias that reads the edge features as they are, and nodes that the model adds.
WITHOUT_TRANSFORM = (("biases", "edge"), ("extra_edges", "virtual"))


def structure_transform(
    encodings: Mapping[str, int] | None = None,
    biases: Mapping[str, int] | None = None,
    extra_edges: Mapping[str, int] | None = None,
) -> Compose:
    """The transform that adds all that a `graphattn.nn.GraphTransformer` of these options reads, each once.

    Raises:
        InputError: on an unknown name, or two options that want the same attribute in two ways.
    """
    made: dict[type, BaseTransform] = {}
    options = (("encodings", encodings, ENCODING_TRANSFORMS), ("biases", biases, BIAS_TRANSFORMS))
    for option, given, known in (*options, ("extra_edges", extra_edges, EDGE_TRANSFORMS)):
        for name, number in (given or {}).items():
            if (option, name) in WITHOUT_TRANSFORM:
                continue
            if name not in known:
                names = [*known, *(name for of, name in WITHOUT_TRANSFORM if of == option)]
                raise InputError(f"{option} must be among {', '.join(names)}, got {name!r}")
            transform = known[name](number)
            before = made.setdefault(type(transform), transform)
            if repr(before) != repr(transform):
                raise InputError(f"{option} {name!r} needs {transform}, but another option has {before}: give both one number")
    return Compose(list(made.values()))


__all__ = [
    "BIAS_TRANSFORMS",
    "EDGE_TRANSFORMS",
    "ENCODING_TRANSFORMS",
    "AddCycleCounts",
    "AddDegree",
    "AddDistance",
    "AddExpander",
    "AddKHop",
    "AddLaplacian",
    "AddPosition",
    "AddRandomWalk",
    "AddRelativeWalk",
    "AddResistance",
    "Reorder",
    "flip_signs",
    "precompute",
    "structure_transform",
]
