"""The estimators by name: a source × a task. A new pair is a line here and a class of its own name."""

from __future__ import annotations

from typing import NamedTuple

from graphattn.errors import InputError


class Kind(NamedTuple):
    """What an estimator is made of: names of `graphattn.estimators.sources.SOURCES` and `graphattn.train.TASKS`."""

    source: str
    task: str


KINDS = {
    "MoleculeRegressor": Kind("molecules", "regression"),
    "MoleculeClassifier": Kind("molecules", "classification"),
    "NodeClassifier": Kind("nodes", "classification"),
    "NodeRegressor": Kind("nodes", "regression"),
}


def estimator_name(source: str, task: str) -> str:
    """The name of the estimator of a source and a task.

    Raises:
        InputError: where there is none.
    """
    for name, kind in KINDS.items():
        if kind == (source, task):
            return name
    tasks = " or ".join(repr(kind.task) for kind in KINDS.values() if kind.source == source)
    raise InputError(f"task must be {tasks}, got {task!r}")
