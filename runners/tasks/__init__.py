"""What networks are trained for: the loss, the score, and what outputs have to be. A recipe names a task."""

from __future__ import annotations

from runners.tasks.binary import Binary
from runners.tasks.classification import CLASSIFICATION, Classification
from runners.tasks.multi_label import MultiLabel
from runners.tasks.opening import open_task, task_problems
from runners.tasks.regression import Regression
from runners.tasks.task import TASKS, Task, scoring_problem

__all__ = [
    "CLASSIFICATION",
    "TASKS",
    "Binary",
    "Classification",
    "MultiLabel",
    "Regression",
    "Task",
    "open_task",
    "scoring_problem",
    "task_problems",
]
