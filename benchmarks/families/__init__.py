"""The computations under test, each with all ways to do it: ours and its rivals, built on the same inputs."""

from benchmarks.families.contender import Contender, Family, Inputs
from benchmarks.families.cora import CORA, CORA_OWN, CORA_SPARSE
from benchmarks.families.dropin import (
    DROPIN_GAT,
    DROPIN_GAT_CORA,
    DROPIN_GAT_PUBMED,
    DROPIN_GATV2,
    DROPIN_GPS,
    DROPIN_GPS_TRANSFORMER,
    DROPIN_TRANSFORMER,
    DROPIN_TRANSFORMER_PLAIN,
)
from benchmarks.families.encoder import ENCODER
from benchmarks.families.full import FULL
from benchmarks.families.layer import LAYER_DOT, LAYER_GAT, LAYER_GATV2, OWN_GAT, OWN_GATV2
from benchmarks.families.linear import LINEAR
from benchmarks.families.op import OP_DOT, OP_DOT_PACKED, OP_GAT, OP_GATV2

__all__ = [
    "CORA",
    "CORA_OWN",
    "CORA_SPARSE",
    "DROPIN_GAT",
    "DROPIN_GATV2",
    "DROPIN_GAT_CORA",
    "DROPIN_GAT_PUBMED",
    "DROPIN_GPS",
    "DROPIN_GPS_TRANSFORMER",
    "DROPIN_TRANSFORMER",
    "DROPIN_TRANSFORMER_PLAIN",
    "ENCODER",
    "FULL",
    "LAYER_DOT",
    "LAYER_GAT",
    "LAYER_GATV2",
    "LINEAR",
    "OP_DOT",
    "OP_DOT_PACKED",
    "OP_GAT",
    "OP_GATV2",
    "OWN_GAT",
    "OWN_GATV2",
    "Contender",
    "Family",
    "Inputs",
]
