"""Block-wise distillation: every alternative of a block learns the block of a trained network, by itself."""

from __future__ import annotations

from nas.blockwise.learn import Students, assemble, errors, learn, loss_terms
from nas.blockwise.lessons import Lesson, Teacher

__all__ = ["Lesson", "Students", "Teacher", "assemble", "errors", "learn", "loss_terms"]
