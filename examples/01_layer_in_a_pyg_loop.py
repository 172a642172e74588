"""
A layer in a PyG training loop
==============================

Two graphattn layers in an ordinary PyTorch Geometric training loop. The data is Zachary's karate club: 34 members in four
groups, with one labelled member in each group.
"""

import matplotlib.pyplot as plt
import networkx as nx
import torch
import torch.nn.functional as F
from torch_geometric.datasets import KarateClub

from graphattn.nn import MaskedSelfAttention

torch.manual_seed(0)
data = KarateClub()[0]  # made by torch_geometric, nothing to download


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = MaskedSelfAttention(data.num_features, 32, heads=4, add_self_loops=True)
        self.second = MaskedSelfAttention(32, 4, score="additive", add_self_loops=True)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.second(F.elu(self.first(x, edge_index)), edge_index)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
for _ in range(200):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()

# %%
# With ``return_attention=True`` a layer also returns its attention weights: one row per edge, with the self-loops last, and
# one column per head.

model.eval()
with torch.no_grad():
    predicted = model(data.x, data.edge_index).argmax(1)
    _, alpha = model.first(data.x, data.edge_index, return_attention=True)
accuracy = float((predicted == data.y)[~data.train_mask].float().mean())
print(f"accuracy on the {int((~data.train_mask).sum())} unlabelled members: {accuracy:.3f}")
print(f"attention weights of the first layer: {list(alpha.shape)}")
assert accuracy >= 0.75

# %%
# Colours are the predicted groups, black rings the labelled members, red rings the errors. The width of a line is the
# attention weight of the first layer, averaged over its heads and the two directions.

weights = alpha[: data.num_edges].mean(1).tolist()
graph = nx.Graph()
for (source, target), weight in zip(data.edge_index.t().tolist(), weights, strict=True):
    before = graph[source][target]["weight"] if graph.has_edge(source, target) else 0.0
    graph.add_edge(source, target, weight=before + weight / 2)
places = nx.kamada_kawai_layout(graph, weight=None)
palette = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7"]
rings = ["black" if known else "white" for known in data.train_mask.tolist()]
rings = ["#D00000" if wrong else ring for wrong, ring in zip((predicted != data.y).tolist(), rings, strict=True)]
nodes = list(range(data.num_nodes))

plt.figure(figsize=(7, 5), layout="constrained")
nx.draw_networkx_edges(graph, places, width=[10 * weight for *_, weight in graph.edges(data="weight")], edge_color="0.6")
drawn = nx.draw_networkx_nodes(
    graph, places, nodelist=nodes, node_size=260, node_color=[palette[label] for label in predicted], edgecolors=rings
)
drawn.set_linewidth(2)
nx.draw_networkx_labels(graph, places, font_size=8)
plt.axis("off")
plt.title(f"{accuracy:.0%} of the unlabelled members are right")
plt.show()
