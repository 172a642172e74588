"""What the training loop costs beside the work itself, on a graph of Cora's size.

    python benchmarks/loop_overhead.py

An epoch is one training step and one validation. Both sides do the same work with the same model, one after the other in
turns; "bare" is that work without `graphattn.train.fit`: no fabric, no schedule, no history, no best weights, no checkpoint.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric

from graphattn.nn import AdjacencyMask, GraphTransformer
from graphattn.train import Batch, Classification, TaskJob, TrainOptions, fit

NODES, EDGES, FEATURES, WORDS, CLASSES = 2_708, 10_556, 1_433, 18, 7
EPOCHS, ROUNDS = 40, 7


def main() -> None:
    torch.manual_seed(0)
    words = torch.randint(FEATURES, (NODES * WORDS,))
    x = torch.sparse_csr_tensor(
        torch.arange(0, NODES * WORDS + 1, WORDS), words, torch.ones(NODES * WORDS), (NODES, FEATURES), check_invariants=False
    )
    edge_index = torch.randint(NODES, (2, EDGES))
    inputs = {"x": x, "edge_index": AdjacencyMask.from_edge_index(edge_index, NODES)}
    target = torch.randint(CLASSES, (NODES,))
    train, valid = torch.arange(140), torch.arange(140, 640)
    batch = Batch(inputs, target[train], train)
    job = TaskJob(Classification(), lambda epoch: [batch], 1, [Batch(inputs, target[valid], valid)])

    def make_model() -> GraphTransformer:
        torch.manual_seed(0)
        return GraphTransformer(FEATURES, 64, CLASSES, num_layers=2, heads=8, dropout=0.5)

    def bare() -> float:
        model = make_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        start = time.perf_counter()
        for _ in range(EPOCHS):
            model.train()
            optimizer.zero_grad()
            loss = job.loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.eval()
            with torch.no_grad():
                job.validate(model)
        return (time.perf_counter() - start) / EPOCHS

    def looped() -> float:
        model = make_model()
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            options = TrainOptions(epochs=EPOCHS, learning_rate=1e-3, patience=EPOCHS)
            fit(model, job, options, Fabric(accelerator="cpu", devices=1), checkpoint=Path(folder) / "checkpoint.pt")
            return (time.perf_counter() - start) / EPOCHS

    bare(), looped()
    times = [(bare(), looped()) for _ in range(ROUNDS)]
    without, with_loop = (statistics.median(side) for side in zip(*times, strict=True))
    share = (with_loop - without) / with_loop
    print(f"bare epoch {without * 1e3:.2f} ms, with the loop {with_loop * 1e3:.2f} ms: the loop is {share:.1%} of an epoch")


if __name__ == "__main__":
    main()
