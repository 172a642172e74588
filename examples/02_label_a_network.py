"""Label the people of a network of which one in ten is known: 400 people, four circles, and what each is interested in."""

import networkx as nx
import numpy as np
import torch

from graphattn import NodeClassifier
from graphattn.networks import from_networkx, label_propagation
from graphattn.splits import random_split

rng = np.random.default_rng(0)
graph = nx.planted_partition_graph(4, 100, p_in=0.1, p_out=0.01, seed=0)
for person, attributes in graph.nodes(data=True):
    circle = person // 100
    attributes["circle"] = ["art", "law", "sport", "trade"][circle]
    # Two in three follow their circle's interest, the others any.
    attributes["interest"] = f"topic {circle if rng.random() < 2 / 3 else rng.integers(4)}"

network = from_networkx(graph, label="circle", features=["interest"])
split = random_split(len(network.ids), (0.1, 0.1, 0.8), seed=0)

classifier = NodeClassifier(seed=0).fit(network.data, split["train"], split["valid"])

circles = classifier.predict(network.data)  # a label for every person
accuracy = classifier.score(network.data, split["test"])
spread = label_propagation(network.data, torch.from_numpy(split["train"]), num_classes=4).argmax(1)
baseline = float((spread == network.data.y)[split["test"]].float().mean())
print(f"person {network.ids[7]} belongs to: {circles[7]}")
print(f"accuracy on the {len(split['test'])} people it has not seen: {accuracy:.3f} (label propagation: {baseline:.3f})")
assert accuracy >= 0.93
