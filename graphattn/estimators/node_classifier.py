"""The estimator that labels the nodes of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.estimators.base import (
    STRUCTURE_OPTIONS,
    GraphEstimator,
    check_classes,
    digest,
    pack_classes,
    seeded,
    unpack_classes,
)
from graphattn.nn import GraphTransformer
from graphattn.ops import AdjacencyMask
from graphattn.train import Progress, fit
from graphattn.transforms import precompute, structure_transform


class NodeClassifier(ClassifierMixin, GraphEstimator):
    """Predicts the class of every node of a network from its features, its place and those it is linked to.

    A `graphattn.nn.GraphTransformer` over the whole network at once, trained on the cross-entropy of the labelled nodes;
    unlabelled nodes take part in attention and get predictions.

    Args:
        channels: width of the node vectors.
        num_layers: number of encoder layers; a node sees so many steps far.
        heads: attention heads of each layer.
        attention: "masked" (along edges) or "full" (all nodes), for all layers or one for each.
        attention_score: "dot", "additive" or "static".
        normaliser: "softmax", "sigmoid", "relu", "sparsemax" or "entmax15".
        encodings: structural encodings added to the node vectors, name → columns. Default: {"degree": 1}, and for a network
            without features {"degree": 1, "laplacian": 8}.
        biases: what full and pair attention know of pairs of nodes, name → columns, see `graphattn.nn.BIASES`. Default: none.
        extra_edges: edges of masked attention beside those of the graph, name → number, see `graphattn.nn.ExtraEdges`. Default:
            none.
        dropout: probability of dropping a channel in training.
        attention_dropout: probability of dropping an attention weight in training.
        epochs: the largest number of passes over the network.
        learning_rate: peak of the learning rate of AdamW, after a warm-up and before a cosine decay.
        weight_decay: of AdamW.
        patience: epochs without a better validation score after which training stops.
        seed: of the weights and of dropout. The same seed gives the same model, bit for bit, on the same machine's
            CPU with the same number of torch threads.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of training, as lightning-fabric names it: "32-true" or "bf16-mixed".

    Example:
        >>> NodeClassifier().fit(data, train_mask, valid_mask).predict(data)  # doctest: +SKIP
    """

    classes_: np.ndarray

    def __init__(
        self,
        *,
        channels: int = 64,
        num_layers: int = 2,
        heads: int = 8,
        attention: str | Sequence[str] = "masked",
        attention_score: str = "dot",
        normaliser: str = "softmax",
        encodings: Mapping[str, int] | None = None,
        biases: Mapping[str, int] | None = None,
        extra_edges: Mapping[str, int] | None = None,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        epochs: int = 200,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.01,
        patience: int = 50,
        seed: int = 0,
        device: str = "auto",
        precision: str = "32-true",
    ) -> None:
        self.channels = channels
        self.num_layers = num_layers
        self.heads = heads
        self.attention = attention
        self.attention_score = attention_score
        self.normaliser = normaliser
        self.encodings = encodings
        self.biases = biases
        self.extra_edges = extra_edges
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(
        self,
        data: Data,
        train_mask: Any = None,
        valid_mask: Any = None,
        *,
        checkpoint: Path | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> Self:
        """Trains on a network.

        Args:
            data: a torch_geometric `Data` with `edge_index`, `y` [nodes] (class numbers; negative: unlabelled), and `x`
                [nodes, features], dense or sparse CSR, where nodes have features. `data.class_names`, where there is one,
                names the classes 0, 1, …; otherwise `classes_` are the numbers.
            train_mask: the nodes to train on: bool [nodes], or their numbers. Default: `data.train_mask`; failing that, all
                labelled nodes that `valid_mask` leaves. Unlabelled nodes among them are passed over.
            valid_mask: the nodes that decide when to stop and which weights to keep. Default: `data.val_mask`; failing that
                none, and training lasts `epochs`.
            checkpoint: file to resume from and to write the training state to.
            report: called after every epoch, see `graphattn.train.Progress`.

        Raises:
            InputError: where labels are missing, a mask does not fit, or the nodes to train on are of fewer than two classes.
        """
        self.check_params()
        if getattr(data, "y", None) is None:
            raise InputError("data.y is missing: fit needs the labels of the nodes, negative where there is none")
        num_nodes = data.num_nodes
        y = torch.as_tensor(data.y)
        if y.shape != (num_nodes,) or y.is_floating_point():
            raise InputError(f"data.y must be integers of shape [{num_nodes}], got {y.dtype} {list(y.shape)}")
        valid = _as_nodes(data.get("val_mask") if valid_mask is None else valid_mask, num_nodes, "valid_mask", y)
        given = data.get("train_mask") if train_mask is None else train_mask
        train = _as_nodes(torch.ones(num_nodes, dtype=torch.bool) if given is None else given, num_nodes, "train_mask", y)
        if given is None:
            train = train[~torch.isin(train, valid)]
        if len(y[train].unique()) < 2:
            found = len(y[train].unique())
            raise InputError(f"fit needs nodes of at least two classes to train on, got {found} among {len(train)} nodes")
        names = data.get("class_names")
        # A class that no node to train on has keeps its place, and is never predicted.
        numbers = torch.arange(len(names)) if names is not None else y[y >= 0].unique()
        if names is not None and int(y.max()) >= len(names):
            raise InputError(f"data.y holds class {int(y.max())}, but data.class_names has {len(names)} names")
        self.classes_ = numbers.numpy() if names is None else np.asarray(names)
        target = torch.searchsorted(numbers, y.cpu())
        self.model_options_ = self._make_model_options(data)

        fabric = self._fabric()
        inputs = self._inputs(data, fabric.device)
        with seeded(self.seed):
            model = GraphTransformer(**self.model_options_)
            job = NodeJob(inputs, target.to(fabric.device), train.to(fabric.device), valid.to(fabric.device))
            x = inputs["x"]
            sparse = x is not None and x.layout == torch.sparse_csr
            features = [x.crow_indices(), x.col_indices(), x.values()] if sparse else [] if x is None else [x]
            tensors = [data.edge_index, y, train, valid, *features]
            identity = digest(self._params(), self.precision, *(tensor.cpu().numpy() for tensor in tensors))
            progress = fit(model, job, self._train_options(), fabric, checkpoint=checkpoint, identity=identity, report=report)
        self.model_, self.history_, self.earlier_seconds_ = model, progress.history, progress.earlier_seconds
        return self

    def predict_proba(self, data: Data) -> np.ndarray:
        """Probability of each of `classes_` for every node, float64, [nodes, classes].

        Args:
            data: the network that the estimator was trained on, also with nodes that came later, or another network whose
                features mean the same.

        Raises:
            NotFittedError: before `fit`.
            InputError: where the features are not as many as in training.
        """
        self._check_fitted()
        with torch.no_grad():
            out = self.model_(**self._inputs(data, next(self.model_.parameters()).device))
        return out.double().softmax(-1).cpu().numpy()

    def predict(self, data: Data) -> np.ndarray:
        """The likeliest class of every node, [nodes]."""
        return self.classes_[self.predict_proba(data).argmax(axis=1)]

    def score(self, data: Data, mask: Any = None, sample_weight: Any = None) -> float:
        """Accuracy on the labelled nodes of `mask`, a mask or node numbers (default: all labelled nodes)."""
        y = torch.as_tensor(data.y)
        every = torch.ones(data.num_nodes, dtype=torch.bool)
        nodes = _as_nodes(every if mask is None else mask, data.num_nodes, "mask", y).numpy()
        names = data.get("class_names")
        truth = y.numpy()[nodes] if names is None else np.asarray(names)[y.numpy()[nodes]]
        return float(np.average(self.predict(data)[nodes] == truth, weights=sample_weight))

    def _make_model_options(self, data: Data) -> dict[str, Any]:
        x = data.get("x")
        default = {"degree": 1, "laplacian": 8} if x is None else {"degree": 1}
        return {
            "in_channels": 0 if x is None else x.shape[1],
            "channels": self.channels,
            "out_channels": len(self.classes_),
            "num_layers": self.num_layers,
            "heads": self.heads,
            "attention": self.attention if isinstance(self.attention, str) else list(self.attention),
            "score": self.attention_score,
            "normaliser": self.normaliser,
            "encodings": default if self.encodings is None else dict(self.encodings),
            "biases": dict(self.biases or {}),
            "extra_edges": dict(self.extra_edges or {}),
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "input_dropout": self.dropout,
        }

    def _inputs(self, data: Data, device: torch.device) -> dict[str, Any]:
        """What the model is called with: made once, as the whole network is one batch."""
        x = data.get("x")
        width, expected = 0 if x is None else x.shape[1], self.model_options_["in_channels"]
        if width != expected:
            raise InputError(f"data.x must have {expected} features, as in training, got {width}")
        if x is not None and not bool((x.values() if x.layout == torch.sparse_csr else x).isfinite().all()):
            raise InputError("data.x holds values that are NaN or infinite")
        transform = structure_transform(*(self.model_options_[name] for name in STRUCTURE_OPTIONS))
        bare = Data(edge_index=data.edge_index, num_nodes=data.num_nodes)
        if data.get("position_pe") is not None:
            bare.position_pe = data.position_pe
        (known,) = precompute([bare], transform)
        structure = {name: value for name, value in known if name not in ("edge_index", "num_nodes")}
        mask = AdjacencyMask.from_edge_index(data.edge_index, data.num_nodes)
        return {
            "x": None if x is None else (x if x.layout == torch.sparse_csr else x.float()).to(device),
            "edge_index": mask.to(device),
            "structure": {name: value.to(device) for name, value in structure.items()},
        }

    def _extra_config(self) -> dict[str, Any]:
        return {"classes": pack_classes(self.classes_)}

    def _restore(self, config: dict[str, Any]) -> None:
        self.classes_ = unpack_classes(config["classes"])
        check_classes(self.classes_, self.model_options_)


class NodeJob:
    """One step an epoch: the whole network, the loss of its labelled nodes."""

    steps_per_epoch = 1
    score_name = "accuracy"

    def __init__(self, inputs: dict[str, Any], target: Tensor, train: Tensor, valid: Tensor) -> None:
        self._inputs, self._target, self._train, self._valid = inputs, target, train, valid

    def batches(self, epoch: int) -> Iterator[None]:
        yield None

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        return F.cross_entropy(model(**self._inputs)[self._train], self._target[self._train])

    def validate(self, model: nn.Module) -> tuple[float, ...] | None:
        if len(self._valid) == 0:
            return None
        raw, target = model(**self._inputs)[self._valid], self._target[self._valid]
        accuracy = (raw.argmax(-1) == target).double().mean()
        return float(accuracy), -float(F.cross_entropy(raw, target))


def _as_nodes(mask: Any, num_nodes: int, name: str, y: Tensor) -> Tensor:
    """The labelled nodes of a mask or of a list of node numbers; none for None."""
    nodes = torch.as_tensor(np.asarray([] if mask is None else mask))
    if nodes.dtype == torch.bool:
        if nodes.shape != (num_nodes,):
            raise InputError(f"{name} must have shape [{num_nodes}], got {list(nodes.shape)}")
        nodes = nodes.nonzero().squeeze(-1)
    nodes = nodes.long()
    if nodes.dim() != 1 or (len(nodes) and (int(nodes.min()) < 0 or int(nodes.max()) >= num_nodes)):
        raise InputError(f"{name} must be bool of shape [{num_nodes}] or node numbers below {num_nodes}")
    return nodes[y[nodes] >= 0]
