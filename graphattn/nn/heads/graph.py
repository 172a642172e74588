from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_geometric.nn.aggr import AttentionalAggregation, MaxAggregation, MeanAggregation, StdAggregation, SumAggregation

from graphattn.errors import InputError

# The names that `GraphHead` takes as `pool`, one or several.
POOLS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda channels: MeanAggregation(),
    "sum": lambda channels: SumAggregation(),
    "max": lambda channels: MaxAggregation(),
    "std": lambda channels: StdAggregation(),
    "attention": lambda channels: AttentionalAggregation(nn.Linear(channels, 1)),
}


class GraphHead(nn.Module):
    r"""One output per graph: node vectors are pooled and a two-layer perceptron reads the pool.

    .. math::
        y_g = W_2 \, \mathrm{GELU}(W_1 \, \mathrm{pool}_{i \in g} \; \mathrm{norm}(x_i))

    Args:
        channels: width of the node vectors.
        out_channels: width of the output.
        pool: "mean", "sum", "max", "std" (the standard deviation of each channel), or "attention": a softmax over the graph's
            nodes of a learned score (Li et al., "Gated graph sequence neural networks", 2016). Several with "+" between them,
            such as "mean+max", are concatenated (Corso et al., "Principal neighbourhood aggregation for graph nets", 2020).
            A graph without nodes pools to zero.
        dropout: probability of dropping a channel of the pool in training.

    Shapes:
        x [nodes, channels], batch [nodes] → [graphs, out_channels].

    Raises:
        InputError: on an unknown pool, or one that is named twice.
    """

    def __init__(self, channels: int, out_channels: int, *, pool: str = "mean", dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        names = pool_names(pool)
        self.pool = nn.ModuleDict({name: POOLS[name](channels) for name in names})
        self.mlp = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(len(names) * channels, channels), nn.GELU(), nn.Linear(channels, out_channels)
        )

    def forward(self, x: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        """Pools the nodes of each of `batch_size` graphs; `batch` need not be sorted."""
        return self.mlp(self.embed(x, batch, batch_size))

    def embed(self, x: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        """The pools of each graph side by side, [graphs, pools × channels]."""
        x = self.norm(x)
        return torch.cat([pool(x, batch, dim_size=batch_size) for pool in self.pool.values()], dim=1)


def pool_names(pool: str) -> list[str]:
    """The pools that a name such as "mean+max" joins.

    Raises:
        InputError: on an unknown pool, or one that is named twice.
    """
    names = pool.split("+") if isinstance(pool, str) else []
    if not names or len(set(names)) < len(names) or not POOLS.keys() >= set(names):
        raise InputError(f"pool must be one or several of {', '.join(POOLS)}, such as 'mean+max', got {pool!r}")
    return names
