"""The stages of a run: what each needs, reads and writes. Whoever asks about a stage asks this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStage:
    """One stage of a run.

    Attributes:
        name: stands in commands, and in ``stages.json``.
        title: heading on the terminal.
        needs: stages whose results it builds on.
        section: recipe section with its settings; empty where it has none.
        reads: further keys of the recipe that it works on; changing one sends the run back to this stage, and
            to each other one that reads it.
        harmless: dotted keys that say how the work is done and not what it is; they may change in the middle.
        writes: files and folders it makes in the run's folder.
        result: what it writes last, which has to be there for the stage to count as done; a file that was
            deleted is made again.
        alone: whether a whole run leaves it out.
        repeats: whether a deleted result is made again to the same bits; later stages then stay as they are.
        lasts: whether its result stays when a stage that it needs is done again: it has written down what it
            took from there.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()
    section: str = ""
    reads: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    writes: tuple[str, ...]
    result: str
    alone: bool = False
    repeats: bool = False
    lasts: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Top-level keys of the recipe that this stage works on."""
        return (*self.reads, *([self.section] if self.section else []))


STAGES = (
    RunStage(
        name="measure",
        title="Measuring the target",
        section="measure",
        reads=("seed", "parts", "data", "space"),  # of the data, the classes and the shape of the images
        harmless=("parts",),  # where code lies
        writes=("measure",),
        result="measure/target.json",
    ),
    RunStage(
        name="train",
        title="Training the supernet",
        needs=("measure",),
        section="train",
        reads=("name", "seed", "parts", "task", "data", "space"),
        harmless=("train.processes", "train.ray_address", "parts"),
        writes=("train",),
        result="train/supernet.safetensors",
        repeats=True,  # from its checkpoint
        lasts=True,  # of the target it takes what the space does without
    ),
    RunStage(
        name="search",
        title="Searching",
        needs=("measure", "train"),
        section="search",
        reads=("race", "blockwise", "minutes"),
        harmless=("search.workers", "search.ray_address"),
        writes=("search",),
        result="search/front.json",
    ),
    RunStage(
        name="compress",
        title="Compressing",
        needs=("search",),
        section="compress",
        writes=("compress",),
        result="compress/networks.json",
    ),
    RunStage(
        name="export",
        title="Exporting and verifying",
        needs=("compress",),
        writes=("artifacts",),
        result="artifacts/networks.json",
    ),
    RunStage(
        name="report",
        title="Writing the report",
        needs=("export",),
        writes=("report.html",),
        result="report.html",
    ),
    RunStage(
        name="audit",
        title="Auditing the supernet",
        needs=("train",),
        section="audit",
        harmless=("audit.workers", "audit.networks"),  # networks that were audited are among more of them
        writes=("audit",),
        result="audit/audit.json",
        alone=True,
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}
WHOLE_RUN = tuple(stage.name for stage in STAGES if not stage.alone)
HARMLESS = frozenset(key for stage in STAGES for key in stage.harmless)


def without(ranking: str) -> frozenset[str]:
    """The stages that a run leaves out for how it ranks networks: without shared weights, all about them."""
    return frozenset() if ranking == "shared" else frozenset({"train", "audit"})


def before(name: str) -> tuple[str, ...]:
    """The stages that one builds on, first to last."""
    needs = BY_NAME[name].needs
    return tuple(dict.fromkeys(one for need in needs for one in (*before(need), need)))


def onward(name: str) -> tuple[str, ...]:
    """A stage and all that are done again with it, in the order of the table."""
    found = [name]
    for stage in STAGES:  # what a stage needs stands before it
        if not stage.lasts and set(stage.needs) & set(found):
            found.append(stage.name)
    return tuple(found)


def readers(key: str) -> tuple[RunStage, ...]:
    """The stages that work on a dotted key of the recipe: one for most, several for data and space."""
    return tuple(stage for stage in STAGES if key.split(".")[0] in stage.keys)
