"""Whether all that a recipe names is there and takes its settings: known before work, not an hour into it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from results.loading import load_installed_parts, load_module, load_object
from results.names import unknown
from results.registry import Registry
from runners.reading.registries import registries
from runners.recipe.part import Part
from runners.recipe.schema import Recipe, Space


def load_parts(recipe: Recipe) -> list[str]:
    """Loads the code that a recipe names and that installed packages bring; what fails, a line each."""
    problems = []
    for spec in recipe.parts:
        problems += _failing("parts", load_module, spec)
    if recipe.space.module:
        problems += _failing("space.module", load_object, recipe.space.module)
    if recipe.space.network:
        problems += _failing("space.network", _load_network_of, recipe.space.network)
    try:
        load_installed_parts()
    except ValueError as error:
        problems.append(str(error))
    return problems


def part_problems(recipe: Recipe, *, complete: bool = True) -> list[str]:
    """What a recipe that is valid in itself names and is not there, or gives to a part that does not take it.

    The code of the parts has to be loaded (``load_parts``).

    Args:
        recipe: valid in itself.
        complete: whether all of that code could be loaded; otherwise a part that is not there is no problem,
            as what failed may bring it.
    """
    problems = [*_hardware(recipe.measure.profile), *_names(recipe), *_parts(recipe, complete)]
    if complete:
        return problems
    missing = [f"unknown {registry.kind} " for registry in registries().values()]
    return [problem for problem in problems if not any(words in problem for words in missing)]


def unless_replaced(problems: Iterable[str], replaced: Collection[str]) -> list[str]:
    """The problems of a recipe less those of keys at which another recipe's values stand (``mended``)."""
    keys = set(replaced)
    if keys & {f"space.{key}" for key in ("preset", *Space().named)}:  # options are held against these
        keys.add("space.options")
    begun = tuple(f"{key}{end}" for key in keys for end in (":", " ", "."))
    return [problem for problem in problems if not problem.startswith(begun)]


def located(recipe: Recipe, folders: Sequence[Path]) -> Recipe:
    """The recipe with the paths of its data absolute.

    Args:
        recipe: valid in itself.
        folders: folders that relative paths may begin at, the likeliest first.
    """
    from runners.data import sources  # imported here: it brings PyTorch

    source = recipe.data.source
    for folder in folders:
        source = sources.located(source, folder)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def _hardware(name: str) -> list[str]:
    from runners.targets.profile import load_profile

    try:
        load_profile(name)
    except (ValueError, OSError) as error:
        return [f"measure.profile: {error}"]
    return []


def _names(recipe: Recipe) -> list[str]:
    """Problems of what is named without settings."""
    # Imported here: presets bring PyTorch, and importing recipes should not.
    from search_spaces.blocks import block_names
    from search_spaces.channel_mixers import CHANNEL_MIXERS
    from search_spaces.entries import ENTRIES
    from search_spaces.mixers import MIXERS
    from search_spaces.norms import norm_names
    from search_spaces.parts import ACTIVATIONS
    from search_spaces.residuals import RESIDUALS
    from search_spaces.rules import rule_of
    from search_spaces.spaces.presets import (
        PRESETS,
        GivenNumbers,
        naming_problems,
        problems_with_options,
        stage_problems,
    )

    space = recipe.space
    wrong_rules = [problem for one in space.rules for problem in _failing("space.rules", rule_of, one)]
    if space.module and space.network:
        return [*wrong_rules, "space.network: this is instead of space.module; give one of them"]
    if space.module or space.network:
        own = "the function of space.module" if space.module else "the file of space.network"
        fields = ("preset", *space.named, *GivenNumbers._fields, "activation", "options")
        strange = [key for key in fields if key in space.model_fields_set]
        own_choice = f"this is for presets; {own} chooses its own"
        return [*wrong_rules, *(f"space.{key}: {own_choice}" for key in strange)]
    problems = _unknown("space.preset", "preset", [space.preset], PRESETS)
    if not problems:
        wrong_names = naming_problems(space.preset, space.named, space.recursions)
        problems += [f"space.{key}: {problem}" for key, problem in wrong_names]
        wrong = problems_with_options(space.preset, space.options, space.named)
        problems += [f"space.options.{problem}" for problem in wrong]
    problems += [
        *wrong_rules,
        *_unknown("space.mixers", "mixer", space.mixers, MIXERS),
        *_unknown("space.blocks", "block", space.blocks, block_names()),
        *_unknown("space.channel_mixers", "channel mixer", space.channel_mixers, CHANNEL_MIXERS),
        *_unknown("space.norms", "norm", space.norms, norm_names()),
        *_unknown("space.residuals", "residual form", space.residuals, RESIDUALS),
        *_unknown("space.entries", "entry", space.entries, ENTRIES),
        *_unknown("space.activation", "activation", [space.activation], ACTIVATIONS),
    ]
    if not problems:  # whether it holds together is asked of what is right in itself
        sizes = GivenNumbers(*(getattr(space, key) for key in GivenNumbers._fields))
        data = recipe.data
        image = (data.channels, data.height, data.width)
        wrong = stage_problems(space.preset, space.options, space.named, sizes, image)
        problems += [f"space: {problem}" for problem in wrong]
    return problems


def _parts(recipe: Recipe, complete: bool) -> list[str]:
    """Problems of the parts, and of what they need."""
    from runners.data.sources import resolved  # imported here: it brings PyTorch
    from runners.stages.teachers import teacher_problems

    known = registries()
    rules, sources = known["train.rule"], known["data.source"]
    problems = []
    try:
        source = resolved(recipe.data.source)
        found = sources.problems(source.kind, source.settings, "data.source")
        if found and source.kind == "hub" != recipe.data.source.kind:  # it was hardly meant
            found = [f"data.source: {unknown('data source', recipe.data.source.kind, sources)}", *found]
            found = found if complete else []
        problems += found
    except ValueError as error:
        problems.append(str(error))
    problems += _task(recipe)
    rule = recipe.train.rule
    problems += rules.problems(rule.kind, rule.settings, "train.rule")
    problems += _searchers(recipe.search.searchers, recipe.search.budget)
    problems += _listed("race.sieve", known["race.sieve"], recipe.race.sieve)
    kinds = [one.kind for one in recipe.race.sieve]
    problems += [
        f"race.sieve: {kind!r} stands there twice" for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1
    ]
    problems += _listed("compress.steps", known["compress.steps"], recipe.compress.steps)
    recovery, at = recipe.compress.recovery, "compress.recovery"
    problems += _listed(f"{at}.methods", known[f"{at}.methods"], recovery.methods)
    if recovery.teachers and not recovery.methods:
        problems.append(f'{at}.methods: teachers are named and no way to learn from them, such as ["kd"]')
    problems += teacher_problems(recovery.teachers, f"{at}.teachers")
    steps = [step.kind for step in recipe.compress.steps]
    if "prune" in steps and "retrain" in steps[steps.index("prune") :]:
        problems.append(
            "compress.steps: retrain makes the whole network anew and undoes a prune before it; put retrain "
            "before prune"
        )
    needs = rules[rule.kind].needs if rule.kind in rules else ()
    if "exits" in needs and not (recipe.space.exits or recipe.space.module):
        problems.append(
            f"space.exits: the rule {rule.kind} trains the ends of networks; say where, as in [1]"
        )
    if "sizes" in needs and recipe.train.sampling != "size":
        problems.append(f'train.sampling: the rule {rule.kind} draws by size; give it sampling = "size"')
    return problems


def _task(recipe: Recipe) -> list[str]:
    """Problems of the task, and of what keeps the answers of teachers, a row of logits for each image."""
    from runners.tasks import open_task, task_problems

    kind, settings = recipe.task.kind, recipe.task.settings
    if problems := task_problems(kind, settings):
        return problems
    if recipe.compress.recovery.views and open_task(kind, settings).answer.kind != "class":
        return [f"compress.recovery.views: of teachers one class an image is kept, not {kind}; set it to 0"]
    return []


def _listed(key: str, registry: Registry[Any], parts: Iterable[Part]) -> Iterator[str]:
    """Problems of a list of parts; the part's name stands in the key of its settings."""
    for part in parts:
        at = f"{key}.{part.kind}" if part.kind in registry else key
        yield from registry.problems(part.kind, part.settings, at)


def _searchers(parts: Sequence[Part], budget: int) -> Iterator[str]:
    """Problems of the searchers: of their settings, two that are the same, a population over the budget."""
    from nas.search.searchers import SEARCHERS, label, least_budget

    yield from _listed("search.searchers", SEARCHERS, parts)
    sound = [part for part in parts if not SEARCHERS.problems(part.kind, part.settings, "")]
    labels = [label(part.kind, part.settings) for part in sound]
    yield from (
        f"search.searchers: {one!r} stands there twice"
        for one in dict.fromkeys(labels)
        if labels.count(one) > 1
    )
    for part in sound:
        if budget < (population := least_budget(part.kind, part.settings)):
            yield (
                f"search.budget = {budget}: {part.kind} has a population of {population} and learns nothing "
                f"from less; give at least {population}"
            )


def _load_network_of(path: str) -> None:
    """Reads the file of a space and imports what makes its network; the network is not made yet."""
    from runners.adopting.file import read_space_file  # imported here: it brings PyTorch

    load_object(read_space_file(Path(path)).network)


def _unknown(key: str, kind: str, names: Sequence[str], valid: Iterable[str]) -> list[str]:
    known = list(valid)
    return [f"{key}: {unknown(kind, name, known)}" for name in names if name not in known]


def _failing(key: str, load: Callable[[Any], object], spec: object) -> list[str]:
    try:
        load(spec)
    except (ValueError, OSError) as error:
        return [f"{key}: {error}"]
    return []
