"""Drop-in layers: torch_geometric's attention layers, computed by the fused kernels of `graphattn.ops`."""

from graphattn.nn.conv.gat_conv import GATConv
from graphattn.nn.conv.gatv2_conv import GATv2Conv
from graphattn.nn.conv.gps_conv import GPSConv
from graphattn.nn.conv.transformer_conv import TransformerConv

__all__ = ["GATConv", "GATv2Conv", "GPSConv", "TransformerConv"]
