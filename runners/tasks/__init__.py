"""What networks are trained for: the loss, the score, and what outputs have to be. A recipe names a task."""

from __future__ import annotations

from runners.tasks.classification import CLASSIFICATION, Classification
from runners.tasks.task import TASKS, Task

__all__ = ["CLASSIFICATION", "TASKS", "Classification", "Task"]
