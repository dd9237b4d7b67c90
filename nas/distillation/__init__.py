"""Learning from teachers: losses on outputs and on features, and lessons that are made of them."""

from __future__ import annotations

from nas.distillation.logits import DISTILLATIONS, adaptive_alpha, distillation_loss, kl
from nas.distillation.method import METHODS, FeatureShapes, Heard, Method
from nas.distillation.methods import KD, AttentionMaps, Dist, Features, Progressive, Relational, Scale
from nas.distillation.teaching import Lecture, Teacher, Teaching, teacher_identity

__all__ = [
    "DISTILLATIONS",
    "KD",
    "METHODS",
    "AttentionMaps",
    "Dist",
    "FeatureShapes",
    "Features",
    "Heard",
    "Lecture",
    "Method",
    "Progressive",
    "Relational",
    "Scale",
    "Teacher",
    "Teaching",
    "adaptive_alpha",
    "distillation_loss",
    "kl",
    "teacher_identity",
]
