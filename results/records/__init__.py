"""Everything a run writes about itself: frozen dataclasses that are JSON on disk, one module for each stage.

Units are in the names: accuracies are fractions in [0, 1], latencies milliseconds, sizes bytes.
"""

from results.codec import Record
from results.records.audit import AuditedNetwork, AuditSummary, Estimate, Ranking
from results.records.card import (
    COMPUTED,
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardWeights,
    Limit,
    Reference,
)
from results.records.compression import StepRecord
from results.records.search import FrontEntry, LayerRecord, SearchSummary
from results.records.training import EpochRecord

__all__ = [
    "COMPUTED",
    "Agreement",
    "AuditSummary",
    "AuditedNetwork",
    "Card",
    "CardAccuracy",
    "CardInput",
    "CardLatency",
    "CardWeights",
    "EpochRecord",
    "Estimate",
    "FrontEntry",
    "LayerRecord",
    "Limit",
    "Ranking",
    "Record",
    "Reference",
    "SearchSummary",
    "StepRecord",
]
