"""A graphattn layer in an ordinary PyTorch Geometric training loop: four groups of a karate club, four labelled members."""

import torch
import torch.nn.functional as F
from torch_geometric.datasets import KarateClub

from graphattn.nn import MaskedSelfAttention

torch.manual_seed(0)
data = KarateClub()[0]  # 34 members, one labelled in each of four groups; made by torch_geometric, nothing to download


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

model.eval()
with torch.no_grad():
    right = model(data.x, data.edge_index).argmax(1) == data.y
    _, alpha = model.first(data.x, data.edge_index, return_attention=True)
accuracy = float(right[~data.train_mask].float().mean())
print(f"accuracy on the {int((~data.train_mask).sum())} unlabelled members: {accuracy:.3f}")
print(f"attention of the first layer: {list(alpha.shape)}, one row an edge (self-loops last), one column a head")
assert accuracy >= 0.75
