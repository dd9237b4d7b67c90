"""Everything a run writes about itself: frozen dataclasses that are JSON on disk, one module for each stage.

Units are in the names: accuracies are fractions in [0, 1], latencies milliseconds, sizes bytes.
"""

from results.records.answer import ONE_CLASS, Answer
from results.records.audit import AuditedNetwork, AuditEntry, AuditSummary, Estimate, Ranking
from results.records.card import (
    FROM_ARRAYS,
    FROM_PICTURES,
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    CardWeights,
    LimitMet,
    Preprocessing,
    Reference,
    best_first,
)
from results.records.card_text import readme
from results.records.codec import Record, Value
from results.records.compression import StepRecord
from results.records.given import CompressedModel, GivenFile, LeftAlone
from results.records.measuring import LatencyCheck, TargetRecord
from results.records.mistakes import Confused, Mistakes, WrongImage
from results.records.race import BlockErrors, BlocksPlan, Raced, RacePlan, RungRecord, Scouted
from results.records.reading import read_record
from results.records.run import (
    Machine,
    Manifest,
    Provenance,
    RecipeRecord,
    Session,
    StageSession,
    StageTimes,
)
from results.records.search import (
    FrontEntry,
    LayerRecord,
    PredictorQuality,
    ScoreRecord,
    SearchSummary,
    Trial,
)
from results.records.training import EpochRecord, SpaceRecord, TrainingRecord

__all__ = [
    "FROM_ARRAYS",
    "FROM_PICTURES",
    "ONE_CLASS",
    "Agreement",
    "Answer",
    "AuditEntry",
    "AuditSummary",
    "AuditedNetwork",
    "BlockErrors",
    "BlocksPlan",
    "Card",
    "CardAccuracy",
    "CardInput",
    "CardLatency",
    "CardProvenance",
    "CardWeights",
    "CompressedModel",
    "Confused",
    "EpochRecord",
    "Estimate",
    "FrontEntry",
    "GivenFile",
    "LatencyCheck",
    "LayerRecord",
    "LeftAlone",
    "LimitMet",
    "Machine",
    "Manifest",
    "Mistakes",
    "PredictorQuality",
    "Preprocessing",
    "Provenance",
    "RacePlan",
    "Raced",
    "Ranking",
    "RecipeRecord",
    "Record",
    "Reference",
    "RungRecord",
    "ScoreRecord",
    "Scouted",
    "SearchSummary",
    "Session",
    "SpaceRecord",
    "StageSession",
    "StageTimes",
    "StepRecord",
    "TargetRecord",
    "TrainingRecord",
    "Trial",
    "Value",
    "WrongImage",
    "best_first",
    "read_record",
    "readme",
]
