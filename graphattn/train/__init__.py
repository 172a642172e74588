"""Training: one loop, the tasks, checkpoints and metrics."""

from graphattn.train.average import WeightAverage
from graphattn.train.checkpoint import load_checkpoint, save_checkpoint
from graphattn.train.job import Batch, TaskJob
from graphattn.train.loop import EpochReport, Job, TrainOptions, fit
from graphattn.train.metrics import classification_scores, regression_scores, score_text
from graphattn.train.tasks import TASKS, Classification, Regression, Task, find_task

__all__ = [
    "TASKS",
    "Batch",
    "Classification",
    "EpochReport",
    "Job",
    "Regression",
    "Task",
    "TaskJob",
    "TrainOptions",
    "WeightAverage",
    "classification_scores",
    "find_task",
    "fit",
    "load_checkpoint",
    "regression_scores",
    "save_checkpoint",
    "score_text",
]
