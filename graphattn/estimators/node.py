"""The estimators of nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.estimators.base import Classes, GraphEstimator, Numbers
from graphattn.estimators.device import find_device
from graphattn.estimators.params import NodeParams
from graphattn.estimators.sources import NetworkSource
from graphattn.estimators.sources.network import as_network, nodes_of_mask
from graphattn.train import EpochReport


class NodeEstimator(GraphEstimator[NetworkSource], NodeParams):
    """A graph transformer over a whole network, with an output for each node; the task is the subclass's."""

    _source = NetworkSource

    def fit(
        self,
        data: Data,
        train_mask: Any = None,
        valid_mask: Any = None,
        *,
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """Trains on a network.

        Args:
            data: a torch_geometric `Data` with `edge_index`, `y` [nodes], and `x` [nodes, features], dense or sparse, where
                nodes have features; arrays are taken as tensors are. `y` of a classifier holds class numbers, negative where a
                node is unlabelled, or text, missing (None, NaN, "") where it is;
                `data.class_names`, where there is one, names the classes 0, 1, …; otherwise `classes_` are the numbers. `y` of
                a regressor holds numbers, NaN where a node is unlabelled. `data.ids` [nodes], where there are any, name the
                nodes: by them they are known again in `predict`.
            train_mask: the nodes to train on: bool or 0 and 1 [nodes], or their numbers. Default: `data.train_mask`; failing
                that, all labelled nodes that `valid_mask` leaves. Unlabelled nodes among them are ignored.
            valid_mask: the nodes that decide when to stop and which weights to keep. Default: `data.val_mask`; failing that
                none, and training lasts `epochs`.
            checkpoint: file to resume from and to write the training state to.
            report: called after every epoch, see `graphattn.train.EpochReport`.

        Raises:
            InputError: where labels are missing, a mask does not fit, or the nodes to train on are too few: one for a
                regressor, two classes for a classifier.
        """
        self.check_params()
        data = as_network(data)
        _values(data, self.new_task())  # refused before anything is computed
        source = self.make_source(data)
        inputs = source.inputs(data, find_device(self.device))
        return self.fit_inputs(source, inputs, data, train_mask, valid_mask, checkpoint=checkpoint, report=report)

    def make_source(self, data: Data) -> NetworkSource:
        """The source that prepares this network for a model of these parameters."""
        return NetworkSource(NetworkSource.options(NodeParams(**self.get_params(deep=False)), data))

    def fit_inputs(
        self,
        source: NetworkSource,
        inputs: dict[str, Any],
        data: Data,
        train_mask: Any = None,
        valid_mask: Any = None,
        *,
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """`fit` on a network that is prepared already: `source` and `inputs` as `make_source` and its `inputs` give them."""
        task = self.new_task()
        num_nodes = data.num_nodes
        values, labelled = _values(data, task)
        valid = nodes_of_mask(data.get("val_mask") if valid_mask is None else valid_mask, num_nodes, "valid_mask", labelled)
        given = data.get("train_mask") if train_mask is None else train_mask
        train = nodes_of_mask(np.ones(num_nodes, dtype=bool) if given is None else given, num_nodes, "train_mask", labelled)
        if given is None:
            train = train[~np.isin(train, valid)]
        if not len(train):
            raise InputError("fit needs labelled nodes to train on, got none")
        task.learn(values[train], values[labelled], data.get("class_names"))
        encoded = task.encode(values[labelled])
        target = np.zeros(num_nodes, dtype=encoded.dtype)
        target[labelled] = encoded
        x = data.get("x")
        sparse = x is not None and x.layout == torch.sparse_csr
        features = [x.crow_indices(), x.col_indices(), x.values()] if sparse else [] if x is None else [x]
        tensors = [data.edge_index, *features]
        self._fit(
            source,
            task,
            lambda device, seed: source.job(
                task, inputs, *(torch.from_numpy(part).to(device) for part in (target, train, valid)), seed=seed
            ),
            (*(tensor.cpu().numpy() for tensor in tensors), labelled, target, train, valid),
            checkpoint,
            report,
        )
        return self

    def outputs(self, data: Data) -> np.ndarray:
        """What the model says of every node: [nodes, 1] values (regressor) or [nodes, classes] probabilities (classifier).

        Args:
            data: the network that the estimator was trained on, also with nodes and edges that came or went since, or another
                network whose features mean the same. Nodes are known again by `data.ids`, or without ids by their numbers:
                then nodes that came later must be the last, and none may be missing between. They keep the positions
                (Laplacian eigenvectors) that they had in training, and others get theirs from their neighbours.

        Warns:
            UserWarning: where it is another network, so that positions are left out.

        Raises:
            NotFittedError: before `fit`.
            InputError: where the features are not as many as in training.
        """
        fitted, data = self._fitted, as_network(data)
        inputs = fitted.source.inputs(data, fitted.device)
        return fitted.source.outputs(fitted.models[0], fitted.task, inputs)

    def predict(self, data: Data) -> np.ndarray:
        """The predicted value, or the likeliest class, of every node, [nodes]."""
        return self._fitted.task.predict(self.outputs(data))

    def score(self, data: Data, mask: Any = None, sample_weight: Any = None) -> float:
        """R² (regressor) or accuracy (classifier) on the labelled nodes of `mask`, bool [nodes] or numbers; default: all."""
        task, data = self._fitted.task, as_network(data)
        values, labelled = _values(data, task)
        every = np.ones(data.num_nodes, dtype=bool)
        nodes = nodes_of_mask(every if mask is None else mask, data.num_nodes, "mask", labelled)
        return task.score(values[nodes], self.outputs(data)[nodes], sample_weight)


class NodeClassifier(Classes, ClassifierMixin, NodeEstimator):
    """Predicts the class of every node of a network from its features, its place and those it is linked to.

    A `graphattn.nn.GraphTransformer` over the whole network at once, trained on the cross-entropy of the labelled nodes;
    unlabelled nodes take part in attention and get predictions.

    Args:
        channels: width of the node vectors.
        num_layers: number of encoder layers; a node sees so many steps far.
        heads: attention heads of each layer.
        attention: "masked" (along edges) or "full" (all nodes), for all layers or one for each.
        attention_score: "dot", "additive" or "static".
        normaliser: "softmax", "softmax1", "sigmoid", "relu", "sparsemax" or "entmax15".
        encodings: structural encodings added to the node vectors, name → columns. Default: {"degree": 1, "laplacian": 8}.
        biases: what full and pair attention know of pairs of nodes, name → columns. Default: none.
        extra_edges: edges of masked attention beyond those of the graph, name → number. Default: none. The names of
            all three are in `graphattn.structure.STRUCTURE`.
        dropout: probability of dropping a channel in training.
        attention_dropout: probability of dropping an attention weight in training.
        epochs: the largest number of passes over the network.
        learning_rate: peak of the learning rate of AdamW, after a warm-up and before a cosine decay.
        weight_decay: of AdamW.
        loss, metric, class_weight: as in `MoleculeRegressor`.
        patience: epochs without a better validation score after which training stops.
        seed: of the weights and of dropout. The same seed gives the same model, bit for bit, on the same machine's
            CPU with the same number of torch threads.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of training, as lightning-fabric names it: "32-true" or "bf16-mixed".

    Example:
        >>> NodeClassifier().fit(data, train_mask, valid_mask).predict(data)  # doctest: +SKIP
    """

    score = NodeEstimator.score  # not the mixin's, which takes no mask

    def predict_proba(self, data: Data) -> np.ndarray:
        """Probability of each of `classes_` for every node, float64, [nodes, classes]; see `outputs`."""
        return self.outputs(data)


class NodeRegressor(Numbers, RegressorMixin, NodeEstimator):
    """Predicts a number for every node of a network, such as a page's traffic, from its features, place and links.

    As `NodeClassifier`, trained on the mean squared error of the standardised values of the labelled nodes. A node whose `y` is
    NaN is unlabelled: it takes part in attention and gets a prediction.

    The parameters are those of `NodeClassifier`.

    Example:
        >>> data.y = torch.tensor([0.5, float("nan"), 1.5])  # doctest: +SKIP
        >>> NodeRegressor().fit(data).predict(data)  # a value for each node, also the second  # doctest: +SKIP
    """

    score = NodeEstimator.score


def _values(data: Data, task: Any) -> tuple[np.ndarray, np.ndarray]:
    if getattr(data, "y", None) is None:
        raise InputError("data.y is missing: fit needs the labels of the nodes")
    y = data.y if isinstance(data.y, torch.Tensor) else np.asarray(data.y)
    if y.shape != (data.num_nodes,):
        raise InputError(f"data.y must have shape [{data.num_nodes}], one label a node, got {list(y.shape)}")
    if isinstance(y, np.ndarray) and y.dtype.kind in "biuf":
        y = torch.from_numpy(y)
    read = task.read_tensor if isinstance(y, torch.Tensor) else task.read_objects
    found: tuple[np.ndarray, np.ndarray] = read(y, data.get("class_names"))
    return found
