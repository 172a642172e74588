"""What is known of a graph's structure: positional encodings, biases on pairs of nodes, and extra edges.

A kind is one class in one file, and a line in `KINDS`: it says which transform computes it, the attributes and columns it
reads, its augmentation, and the module that embeds it. Kinds from outside the package are registered by `register_structure`.
"""

from graphattn.structure.compute.expander import expander
from graphattn.structure.compute.k_hop import k_hop
from graphattn.structure.encoding.cycles import AddCycleCounts, CycleEncoding
from graphattn.structure.encoding.degree import AddDegree, DegreeEncoding
from graphattn.structure.encoding.degree_bucket import DegreeBucketEncoding
from graphattn.structure.encoding.laplacian import AddLaplacian, LaplacianEncoding, flip_signs
from graphattn.structure.encoding.learned import LearnedEncoding
from graphattn.structure.encoding.position import AddPosition
from graphattn.structure.encoding.random_walk import AddRandomWalk, RandomWalkEncoding
from graphattn.structure.encoding.sign_invariant import SignInvariantEncoding
from graphattn.structure.encoding.sinusoidal import SinusoidalEncoding
from graphattn.structure.extra_edges.expander import AddExpander, ExpanderEdges
from graphattn.structure.extra_edges.k_hop import AddKHop, KHopEdges
from graphattn.structure.extra_edges.virtual import VirtualNodes
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding, ExtraEdges, PairBias, Structure
from graphattn.structure.pair_bias.distance import AddDistance, DistanceBias
from graphattn.structure.pair_bias.edge import EdgeBias
from graphattn.structure.pair_bias.relative_walk import AddRelativeWalk, RelativeWalkBias
from graphattn.structure.pair_bias.resistance import AddResistance, ResistanceBias
from graphattn.structure.precompute import precompute
from graphattn.structure.registry import STRUCTURE, register_structure, structure_transform
from graphattn.structure.reorder import Reorder
from graphattn.structure.transform import StructuralTransform

# In this order: the edge types of a model follow it.
KINDS: tuple[type[Structure], ...] = (
    DegreeEncoding,
    DegreeBucketEncoding,
    RandomWalkEncoding,
    CycleEncoding,
    SinusoidalEncoding,
    LearnedEncoding,
    LaplacianEncoding,
    SignInvariantEncoding,
    DistanceBias,
    RelativeWalkBias,
    ResistanceBias,
    EdgeBias,
    KHopEdges,
    ExpanderEdges,
    VirtualNodes,
)
for _kind in KINDS:
    register_structure(_kind)

__all__ = [
    "STRUCTURE",
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
    "CycleEncoding",
    "DegreeBucketEncoding",
    "DegreeEncoding",
    "DistanceBias",
    "EdgeBias",
    "Encoding",
    "ExpanderEdges",
    "ExtraEdges",
    "Graphs",
    "KHopEdges",
    "LaplacianEncoding",
    "LearnedEncoding",
    "PairBias",
    "RandomWalkEncoding",
    "RelativeWalkBias",
    "Reorder",
    "ResistanceBias",
    "SignInvariantEncoding",
    "SinusoidalEncoding",
    "StructuralTransform",
    "Structure",
    "VirtualNodes",
    "expander",
    "flip_signs",
    "k_hop",
    "precompute",
    "register_structure",
    "structure_transform",
]
