"""Predictions from the labels of a network alone, without a model: the scores that a model has to beat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import LabelPropagation

from graphattn.errors import InputError


def label_propagation(data: Data, train_index: Tensor, num_classes: int) -> Tensor:
    """Spreads the labels of the training nodes along the edges; features are not used.

    Fifty rounds of Y ← α D^(−1/2) A D^(−1/2) Y + (1 − α) Y₀ with α = 0.9, where Y₀ holds the one-hot labels of the
    training nodes and zeros elsewhere; then each row is scaled to sum 1. A node that no label reaches gets the class
    that is most frequent among the training nodes. Label propagation is due to "Learning from Labeled and Unlabeled
    Data with Label Propagation" (Zhu & Ghahramani, 2002); this form is torch_geometric's.

    Args:
        data: The network, with `edge_index` and `y`, int64, [nodes]. The other nodes' labels are not looked at.
        train_index: The training nodes: int64, [training nodes], or a mask, bool, [nodes].
        num_classes: The number of classes.

    Returns:
        Probabilities, float32, [nodes, classes].

    Raises:
        InputError: if there are no training nodes, or one has no label or one outside the classes.
    """
    train_index = train_index.nonzero().view(-1) if train_index.dtype == torch.bool else train_index
    if not train_index.numel():
        raise InputError("train_index is empty; expected at least one training node")
    labels = data.y[train_index]
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise InputError(f"train_index holds nodes whose label is not one of the {num_classes} classes")
    known = torch.nn.functional.one_hot(labels, num_classes).float()
    spread = spread_along_edges(data, train_index, known)
    majority = torch.zeros(num_classes, device=labels.device)
    majority[labels.bincount(minlength=num_classes).argmax()] = 1.0
    return torch.where(spread.sum(dim=1, keepdim=True) > 0, spread, majority)


def spread_along_edges(data: Data, train_index: Tensor, known: Tensor) -> Tensor:
    """The spreading in `label_propagation`, of any numbers that are not negative.

    Args:
        data: The network.
        train_index: The training nodes: int64, [training nodes].
        known: The numbers of the training nodes, float32, [training nodes, k].

    Returns:
        The share of each of the k numbers among what reaches a node, [nodes, k]; zeros where nothing does.
    """
    start = torch.zeros(int(data.num_nodes or 0), known.shape[1], device=known.device)
    start[train_index] = known
    spread = LabelPropagation(num_layers=50, alpha=0.9)(start, data.edge_index) if data.edge_index.numel() else start
    total = spread.sum(dim=1, keepdim=True)
    return torch.where(total > 0, spread / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
