"""What goes out of a model. A new task is a file here and a line in `TASKS`; no source changes for it."""

from graphattn.errors import InputError
from graphattn.train.tasks.classification import Classification
from graphattn.train.tasks.regression import Regression
from graphattn.train.tasks.task import Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (Regression, Classification)}


def find_task(name: str) -> type[Task]:
    """The task of a name.

    Raises:
        InputError: on an unknown name.
    """
    if name not in TASKS:
        raise InputError(f"task must be {' or '.join(map(repr, TASKS))}, got {name!r}")
    return TASKS[name]


__all__ = ["TASKS", "Classification", "Regression", "Task", "find_task"]
