"""Training: one loop, its checkpoints and the metrics."""

from graphattn.train.checkpoint import load_checkpoint, save_checkpoint
from graphattn.train.loop import Job, Progress, TrainOptions, fit
from graphattn.train.metrics import classification_scores, regression_scores

__all__ = [
    "Job",
    "Progress",
    "TrainOptions",
    "classification_scores",
    "fit",
    "load_checkpoint",
    "regression_scores",
    "save_checkpoint",
]
