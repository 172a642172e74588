"""
Label the nodes of a network
============================

A social network in which one person in ten has a known label: 400 people in four circles, and one interest for each person.
"""

import matplotlib.pyplot as plt
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
    # Two in three people have the interest of their circle, the others any interest.
    attributes["interest"] = f"topic {circle if rng.random() < 2 / 3 else rng.integers(4)}"

network = from_networkx(graph, label="circle", features=["interest"])
split = random_split(len(network.ids), (0.1, 0.1, 0.8), seed=0)

classifier = NodeClassifier(seed=0).fit(network.data, split["train"], split["valid"])

# %%
# The classifier predicts a label for every person. Label propagation, which uses the network but no features, is the
# baseline.

circles = classifier.predict(network.data)
accuracy = classifier.score(network.data, split["test"])
spread = label_propagation(network.data, torch.from_numpy(split["train"]), num_classes=4).argmax(1)
baseline = float((spread == network.data.y)[split["test"]].float().mean())
print(f"person {network.ids[7]} belongs to: {circles[7]}")
print(f"accuracy on the {len(split['test'])} test people: {accuracy:.3f} (label propagation: {baseline:.3f})")
assert accuracy >= 0.93

# %%
# The left picture has what the classifier was given, the right one what it predicts. Crosses mark errors.

places = nx.spring_layout(graph, seed=0)
xy = np.array([places[person] for person in graph])
lines = np.array([[places[one], places[other]] for one, other in graph.edges])
colours = dict(zip(["art", "law", "sport", "trade"], ["#56B4E9", "#E69F00", "#009E73", "#CC79A7"], strict=True))
truth = np.array([circle for _, circle in graph.nodes(data="circle")])
known = np.isin(np.arange(len(truth)), np.concatenate([split["train"], split["valid"]]))
wrong = circles != truth

figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
for panel, title in zip(panels, ["known labels", f"predictions, accuracy {accuracy:.3f}"], strict=True):
    panel.plot(*lines.transpose(2, 1, 0), color="0.85", linewidth=0.3, zorder=0)
    panel.set_title(title)
    panel.set_axis_off()
panels[0].scatter(*xy[~known].T, s=18, color="white", edgecolors="0.6", linewidths=0.6)
for circle, colour in colours.items():
    panels[0].scatter(*xy[known & (truth == circle)].T, s=26, color=colour, label=circle)
    panels[1].scatter(*xy[circles == circle].T, s=26, color=colour)
panels[1].scatter(*xy[wrong].T, s=36, color="black", marker="x", linewidths=1.2)
figure.legend(loc="outside lower center", ncols=4, frameon=False)
plt.show()
