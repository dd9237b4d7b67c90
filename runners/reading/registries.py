"""The registry behind each key of a recipe that names parts."""

from __future__ import annotations

from typing import Any

from results.registry import Registry


def registries() -> dict[str, Registry[Any]]:
    """The registries by key: of the recipe, and of the hardware profile that it names (``runtime``)."""
    # Imported here: they bring PyTorch, for which reading a recipe should not wait.
    from compress.pruning.allocation import ALLOCATIONS
    from compress.pruning.importance import CRITERIA
    from compress.steps import STEPS
    from nas.distillation import METHODS
    from nas.proxies import PROXIES
    from nas.rules import RULES
    from nas.search import SEARCHERS
    from runners.data.sources import SOURCES
    from runners.stages.teachers import TEACHERS
    from runners.targets.profile import RUNTIMES
    from runners.tasks import TASKS
    from search_spaces.blocks import BLOCKS
    from search_spaces.channel_mixers import CHANNEL_MIXERS
    from search_spaces.entries import ENTRIES
    from search_spaces.gates import GATES
    from search_spaces.mixers import MIXERS
    from search_spaces.norms import NORMS
    from search_spaces.residuals import RESIDUALS

    return {
        "task": TASKS,
        "data.source": SOURCES,
        "space.options": MIXERS,
        "space.blocks": BLOCKS,
        "space.channel_mixers": CHANNEL_MIXERS,
        "space.norms": NORMS,
        "space.residuals": RESIDUALS,
        "space.entries": ENTRIES,
        "gate": GATES,
        "train.rule": RULES,
        "search.searchers": SEARCHERS,
        "race.sieve": PROXIES,
        "compress.steps": STEPS,
        "compress.steps.prune.importance": CRITERIA,
        "compress.recovery.teachers": TEACHERS,
        "compress.recovery.methods": METHODS,
        "compress.steps.prune.allocation": ALLOCATIONS,
        "runtime": RUNTIMES,
    }
