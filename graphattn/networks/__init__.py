"""Networks of people, pages or anything else: edge lists, node tables and NetworkX graphs become one attention-ready graph."""

from graphattn.networks.baselines import label_propagation, spread_along_edges
from graphattn.networks.draw import draw_network
from graphattn.networks.features import FeatureEncoding, fit_columns, fit_ids
from graphattn.networks.network import Network, from_networkx
from graphattn.networks.read import load_network

__all__ = [
    "FeatureEncoding",
    "Network",
    "draw_network",
    "fit_columns",
    "fit_ids",
    "from_networkx",
    "label_propagation",
    "load_network",
    "spread_along_edges",
]
