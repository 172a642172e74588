"""What the tests of pair transforms share: graphs that hypothesis draws, and a batch held against its graphs one by one."""

from __future__ import annotations

import networkx as nx
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphattn.structure import StructuralTransform

drawn = settings(deadline=None, derandomize=True, max_examples=40, database=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def graphs(draw: st.DrawFn) -> Data:
    """Empty, one node, disconnected, directed or not, multi-edges, self-loops, and weights, some of them zero."""
    num_nodes = draw(st.integers(0, 8))
    node = st.integers(0, max(num_nodes - 1, 0))
    pairs = draw(st.lists(st.tuples(node, node, st.sampled_from([0.0, 0.5, 1.0, 3.0])), max_size=14 if num_nodes else 0))
    if draw(st.booleans()):
        pairs += [(target, source, weight) for source, target, weight in pairs]
    edge_index = torch.tensor([pair[:2] for pair in pairs], dtype=torch.long).reshape(-1, 2).t().contiguous()
    return Data(edge_index=edge_index, num_nodes=num_nodes, weight=torch.tensor([pair[2] for pair in pairs]))


def graph(edges: list[tuple[int, int]], num_nodes: int) -> Data:
    """Both directions of every edge."""
    both = [pair for i, j in edges for pair in ((i, j), (j, i))]
    return Data(edge_index=torch.tensor(both, dtype=torch.long).reshape(-1, 2).t().contiguous(), num_nodes=num_nodes)


def from_networkx(network: nx.Graph) -> Data:
    return graph([(i, j) for i, j in nx.convert_node_labels_to_integers(network).edges], network.number_of_nodes())


def table(values: Tensor, num_nodes: int) -> Tensor:
    """The pairs of one graph as a table: a row for each target, a column for each source."""
    return values.unflatten(0, (num_nodes, num_nodes))


def check_batches(transform: StructuralTransform, name: str, some: list[Data], seed: int) -> None:
    """A batch, also an unsorted one, has the pairs of its graphs one after the other."""
    alone = [transform(one)[name] for one in some]
    batch = Batch.from_data_list(some)
    torch.testing.assert_close(transform(batch)[name], torch.cat(alone))

    # Node number `new[i]` in place of i; inside a graph nodes keep their order, and so do the pairs.
    number = torch.Generator().manual_seed(seed)
    graph_of = batch.batch[torch.randperm(batch.num_nodes, generator=number)]
    new = graph_of.argsort(stable=True)
    shuffled = Data(edge_index=new[batch.edge_index], batch=graph_of, num_nodes=batch.num_nodes, weight=batch.weight)
    # Empty graphs at the end are known to a batch only by its `ptr`; they have no pairs.
    torch.testing.assert_close(transform(shuffled)[name], torch.cat(alone))
