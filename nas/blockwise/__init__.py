"""Block-wise distillation: every alternative of a block learns the block of a trained network, by itself."""

from __future__ import annotations

from nas.blockwise.learn import Students, assemble, errors, learn, loss_terms
from nas.blockwise.lessons import Lesson, Teacher, fitting_terms, lessons_of

__all__ = [
    "Lesson",
    "Students",
    "Teacher",
    "assemble",
    "errors",
    "fitting_terms",
    "learn",
    "lessons_of",
    "loss_terms",
]
