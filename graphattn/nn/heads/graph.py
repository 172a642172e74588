from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn.aggr import AttentionalAggregation, MeanAggregation, SumAggregation

from graphattn.errors import InputError


class GraphHead(nn.Module):
    r"""One output per graph: node vectors are pooled and a two-layer perceptron reads the pool.

    .. math::
        y_g = W_2 \, \mathrm{GELU}(W_1 \, \mathrm{pool}_{i \in g} \; \mathrm{norm}(x_i))

    Args:
        channels: width of the node vectors.
        out_channels: width of the output.
        pool: "mean", "sum", or "attention": a softmax over the graph's nodes of a learned score (Li et al., "Gated graph
            sequence neural networks", 2016). A graph without nodes pools to zero.
        dropout: probability of dropping a channel of the pool in training.

    Shapes:
        x [nodes, channels], batch [nodes] → [graphs, out_channels].
    """

    def __init__(self, channels: int, out_channels: int, *, pool: str = "mean", dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        if pool == "mean":
            self.pool: nn.Module = MeanAggregation()
        elif pool == "sum":
            self.pool = SumAggregation()
        elif pool == "attention":
            self.pool = AttentionalAggregation(nn.Linear(channels, 1))
        else:
            raise InputError(f"pool must be 'mean', 'sum' or 'attention', got {pool!r}")
        self.mlp = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, out_channels)
        )

    def forward(self, x: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        """Pools the nodes of each of `batch_size` graphs; `batch` need not be sorted."""
        return self.mlp(self.pool(self.norm(x), batch, dim_size=batch_size))
