"""The search space of a run, from its recipe and its data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from nas.costs.model.fit import MeasurePlan
from results.loading import load_object
from runners.adopting.file import space_of_file
from runners.recipe.schema import Recipe, Space
from runners.targets.hardware import HardwareProfile
from search_spaces.rules import rule_of
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.narrowed import ruled
from search_spaces.spaces.precisions import with_precisions
from search_spaces.spaces.presets import PRESETS, operations, preset


def make_space(
    recipe: Space, *, classes: int, input_shape: Shape, without: Collection[str] = ()
) -> SearchSpace:
    """The space a recipe names, for a data set, without these mixers or blocks where it is a preset.

    Raises:
        ValueError: an unknown preset, mixer or block, a stage left without any, a user's module that gives
            no space, a file of a space that does not go with its network or the data, or rules that do not
            go with the space.
        FileNotFoundError: a user's file that is not there.
    """
    space = _without_rules(recipe, classes, input_shape, without)
    if not recipe.rules:
        return space
    try:
        # Held against all that the recipe names: a value may be left out that a rule is about.
        whole = _without_rules(recipe, classes, input_shape, ()) if without else space
        rules = ruled(whole, [rule_of(one) for one in recipe.rules]).rules
        return ruled(space, [rule for rule in rules if set(rule.choices) <= set(space.names)])
    except ValueError as error:
        raise ValueError(f"space.rules: {error}") from None


def _without_rules(recipe: Space, classes: int, input_shape: Shape, without: Collection[str]) -> SearchSpace:
    space = _named(recipe, classes, input_shape, without)
    if not recipe.precisions:
        return space
    try:
        return with_precisions(space, recipe.precisions)
    except ValueError as error:
        raise ValueError(f"space.precisions: {error}") from None


def _named(recipe: Space, classes: int, input_shape: Shape, without: Collection[str]) -> SearchSpace:
    if recipe.module:
        return _users(recipe.module)(classes=classes, input_shape=input_shape)
    if recipe.network:
        return _of_network(Path(recipe.network), input_shape)
    return preset(
        recipe.preset,
        classes=classes,
        input_shape=input_shape,
        **recipe.named,
        recursions=recipe.recursions,
        resolutions=recipe.resolutions,
        strides=recipe.strides,
        exits=recipe.exits,
        without=without,
        activation=recipe.activation,
        options=recipe.options,
    )


def _of_network(path: Path, input_shape: Shape) -> SearchSpace:
    """The space of a file, whose network has to take the data's images."""
    try:
        space = space_of_file(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"space.network: {error}") from None
    except ValueError as error:
        raise ValueError(f"space.network: {error}") from error
    wanted = space.input_shape({})
    if wanted != tuple(input_shape):
        raise ValueError(
            f"space.network: {path} is for images of {wanted} (channels, height, width), and the data have "
            f"{tuple(input_shape)}: change data.height, data.width or data.channels, or propose it again"
        )
    return space


def _users(module: str) -> Callable[..., SearchSpace]:
    """A user's function, with what it raises told as the recipe's."""
    try:
        function = load_object(module)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"space.module: {error}") from None
    except ValueError as error:
        raise ValueError(f"space.module: {error}") from error
    if not callable(function):
        raise ValueError(f"space.module: {module} is a {type(function).__name__}, not a function")

    def build(*, classes: int, input_shape: Shape) -> SearchSpace:
        try:
            space = function(classes=classes, input_shape=input_shape)
        except Exception as error:  # whatever it raises while it makes the space
            raise ValueError(f"space.module: {module} fails: {type(error).__name__}: {error}") from error
        if not isinstance(space, SearchSpace):
            raise ValueError(f"space.module: {module} gave a {type(space).__name__}, not a SearchSpace")
        return space

    return build


def rules_out(recipe: Space, profile: HardwareProfile) -> tuple[str, ...]:
    """What a recipe's preset has and a profile cannot run, by name; a user's own space is taken as it is."""
    if recipe.module or recipe.network or recipe.preset not in PRESETS:
        return ()
    names = operations(recipe.preset, recipe.named)
    return tuple(name for name in names if name in profile.unsupported_mixers)


def measure_plan(recipe: Recipe) -> MeasurePlan:
    """How much of a target a recipe has measured."""
    return MeasurePlan(
        fit_networks=recipe.measure.fit_networks,
        check_networks=recipe.measure.check_networks,
        seconds_each=recipe.measure.seconds_each,
        confidence=recipe.search.confidence,
        seed=recipe.seed_or(recipe.measure.seed),
    )


def check_size(space: SearchSpace, plan: MeasurePlan) -> None:
    """Whether a space has the networks that are to be measured: known before it is trained, not after.

    Raises:
        ValueError: it has fewer.
    """
    needed = plan.fit_networks + plan.check_networks
    if space.size == 1:
        raise ValueError(f"space {space.name!r} holds one network: there is nothing to search")
    if space.size < needed:
        raise ValueError(
            f"space {space.name!r} holds {space.size} networks, and measure.fit_networks + "
            f"measure.check_networks are {needed}: add choices, or ask for fewer"
        )
