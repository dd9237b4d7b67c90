"""The work of each stage and what is checked before it: where stages are handed what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nas.costs.layers.probes import layer_probes
from nas.costs.model.fit import MeasurePlan
from nas.costs.model.reach import reachable
from nas.supernet import Supernet
from results.records import AuditSummary, read_record
from results.report import write_report
from results.statistics import kendall
from runners.run.narrowing import FILE, fix_space, fixed_space, narrowed_warning
from runners.run.spaces import check_size, rules_out
from runners.run.wiring import Wiring
from runners.stages.audit import audit_supernet, check_audit
from runners.stages.blocks import check_blocks
from runners.stages.clock import check_minutes
from runners.stages.compress import compress_front
from runners.stages.export import export_files
from runners.stages.first_look import look_first
from runners.stages.measure import (
    counts_power,
    measure,
    measured_for,
    record_target,
)
from runners.stages.race import race
from runners.stages.scout import scout_limit, scout_sizes
from runners.stages.search import check_limits, check_search, constraints_of, search_supernet
from runners.stages.sieve import sieved
from runners.stages.train import check_training, train, train_settings, training_data
from runners.training.pace import seconds_per_epoch

_TIMED = 0.5  # of the time for measuring, that files run; the other half makes them
_LEAST_S = 0.01  # to measure a layer or network


def _measure(made: Wiring) -> None:
    if made.alone:
        record_target(
            made.target,
            made.profile,
            forms=made.forms,
            left_out=made.left_out,
            folder=made.path / "measure",
        )
        scout_sizes(made.scouting)
        return
    measure(
        made.given,
        made.target,
        made.profile,
        in_time(made),
        forms=made.forms,
        left_out=made.left_out,
        folder=made.path / "measure",
        console=made.console,
    )


def in_time(made: Wiring) -> MeasurePlan:
    """What is measured for a table, each for as long as a run's minutes allow, and no longer than wanted."""
    plan, clock = made.plan, made.clock
    if clock is None:
        return plan
    probes = len(layer_probes(made.given)) + plan.fit_networks + 2 * plan.check_networks
    each_s = _TIMED * clock.measuring_s / (len(made.forms) * probes)
    return replace(plan, seconds_each=max(_LEAST_S, min(plan.seconds_each, each_s)))


def _train(made: Wiring) -> None:
    recipe = made.run.recipe
    check_training(made.given, made.data, recipe.train)
    if fixed_space(made.path) is None:
        fix_space(
            made.given,
            lambda: (models := made.models, made.limit_ms(models, made.given)),
            profile=made.profile.name,
            left_out=made.left_out,
            run=made.path,
            console=made.console,
        )
        _check_limits(made)
    train(
        made.space,
        made.data,
        recipe.train,
        seed=recipe.seed,
        device=made.device,
        folder=made.path / "train",
        console=made.console,
    )


def _trusted(made: Wiring, gate: float) -> bool:
    """Whether shared weights rank some networks as well as is asked for; they are trained alone to see."""
    audit_supernet(made.auditing)
    summary = read_record(AuditSummary, made.path / "audit" / "audit.json")
    networks = summary.networks
    tau = kendall([n.inherited_val for n in networks], [n.alone_val for n in networks])
    words = (
        f"of {len(networks)} networks trained alone, shared weights have the order with a tau of {tau:.2f}"
    )
    if tau >= gate:
        made.console.say(f"{words}; {gate:g} is asked for (search.gate)")
        return True
    made.console.warn(f"{words}, under the {gate:g} of search.gate: networks are ranked alone instead")
    return False


def _check_limits(made: Wiring) -> None:
    """Whether a search will find anything: known before the training, not after it.

    Raises:
        ValueError: no network meets the limits; what was written down of the space is taken back.
    """
    if not made.given.slots:  # whose layers take a while to find
        return
    try:
        _check_reachable(made)
    except ValueError as error:
        (made.path / FILE).unlink(missing_ok=True)
        again = f"quarry train --out {made.path} --set search.latency_ms=..."
        raise ValueError(f"{error}\nAnother limit: {again}") from None


def _search(made: Wiring) -> None:
    if made.ranking == "blockwise":
        _check_reachable(made)
        race(made.blockwise_racing)
        return
    gate = made.run.recipe.search.gate
    if made.alone or (gate is not None and not _trusted(made, gate)):
        race(sieved(made.racing))
        return
    work, fixed = made.searching, fixed_space(made.path)
    if fixed and (words := narrowed_warning(fixed, work.limit_ms, made.profile.name, made.path)):
        made.console.warn(words)
    search_supernet(work)


def _check_train(made: Wiring) -> None:
    """The space as it will be: what is there is still the one that was trained before."""
    space = made.space_without(rules_out(made.run.recipe.space, made.profile))
    check_size(space, made.plan)
    check_training(space, made.data, made.run.recipe.train)
    _ = made.device
    if not measured_for(space, made.path / "measure"):
        look_first(made.first_look(space))
    if space.slots and measured_for(space, made.path / "measure"):
        models = made.models_of(space)
        reachable(space, list(models.values()), made.limit_ms(models, space))


def _check_scouted(made: Wiring) -> None:
    """Whether networks that are trained alone can meet the limit; what is measured for that is kept."""
    scout_limit(replace(made.untimed_scouting, networks=1), made.scouted_limit_ms)


def _check_reachable(made: Wiring) -> None:
    """Whether any network meets the limits, by the table."""
    models = made.models
    limits = constraints_of(made.profile.limits, made.limit_ms(models, made.given))
    check_limits(made.space, made.costs(models), limits)


_SEARCH_CHECKS: dict[str, Callable[[Wiring], None]] = {
    "alone": _check_scouted,
    "blockwise": _check_reachable,
    "shared": lambda made: check_search(made.searching),
}

WORK: dict[str, Callable[[Wiring], object]] = {
    "measure": _measure,
    "train": _train,
    "search": _search,
    "compress": lambda made: compress_front(made.compressing, made.summary),
    "export": lambda made: export_files(made.exporting),
    "report": lambda made: made.console.say(f"report: {write_report(made.path)}"),
    "audit": lambda made: audit_supernet(made.auditing),
}
"""The work of each stage."""

CHECKS: dict[str, Callable[[Wiring], None]] = {
    "measure": lambda made: check_whole(made),
    "train": _check_train,
    "search": lambda made: _SEARCH_CHECKS[made.ranking](made),
    "audit": lambda made: check_audit(made.space, made.run.recipe),
}
"""What is known to be impossible before a stage is done again; nothing is put aside for it."""


def check_whole(made: Wiring) -> None:
    """Whether a run can go through all stages: known before it begins, not an hour into it.

    Raises:
        ValueError: the target or the device to train on is not there, energy is limited and nobody knows the
            power, the space has fewer networks than are
            to be measured, it cannot be trained on the data, or one of its networks, taken through all that a
            run does, fails.
    """
    _ = made.target, made.device
    if made.profile.watts is None and (made.alone or not counts_power(made.target)):
        made.profile.limits.most_ms(None)
    if not made.alone:
        check_size(made.given, made.plan)
    wanted, given = made.profile.input_shape, made.data.input_shape
    if wanted and tuple(wanted) != tuple(given):
        raise ValueError(f"profile {made.profile.name!r} takes inputs of {wanted}; the data are {given}")
    check_training(made.given, made.data, made.run.recipe.train)
    look_first(made.first_look(made.given))
    if made.ranking == "blockwise":
        check_blocks(made.given)
    if made.ranking != "shared":
        check_time(made)


def check_time(made: Wiring) -> None:
    """Whether the minutes of a run suffice; what an epoch takes is known from a few steps.

    Raises:
        ValueError: they do not.
    """
    recipe, space = made.run.recipe, made.space
    if recipe.minutes is None:
        return
    network = Supernet(space.only(space.smallest()), seed=recipe.seed, device=made.device)
    data = training_data(made.data, recipe.train, made.device)
    check_minutes(recipe.minutes, seconds_per_epoch(network, data, train_settings(recipe.train)))
