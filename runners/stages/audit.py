"""An optional stage after training: how far the supernet's ranking can be trusted."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.ranking import spread
from nas.search.pool import Outcome, Pool, SerialPool
from nas.supernet.supernet import Supernet
from results.files import append_line, read_json, read_lines, write_json
from results.numbers import count as in_units
from results.records.audit import AuditedNetwork, AuditEntry, AuditSummary, summarise
from results.report.page import write_report
from runners.console import Console
from runners.data.prepared import RunData
from runners.pools.evaluate_all import evaluate_all
from runners.pools.ray_pool import RayPool
from runners.recipe.schema import Recipe
from runners.scoring.auditor import Auditor, AuditPlan, worker_auditor
from runners.scoring.subnets import evaluator_of
from runners.stages.train import SUPERNET, mix_of, train_settings
from runners.stages.trainings import finetune_settings
from search_spaces.space import Arch, SearchSpace

_DISK_FULL = os.strerror(errno.ENOSPC)
_FEWEST = 4  # networks that have an order worth speaking of


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditing:
    """What an audit works with.

    Attributes:
        space: Space of the supernet.
        data: Data of the run; networks are judged on its test images.
        recipe: Recipe of the run.
        device: Device to train on.
        run: Folder of the run; ``audit/`` is written there.
        console: Console of the run.
    """

    space: SearchSpace
    data: RunData
    recipe: Recipe
    device: torch.device
    run: Path
    console: Console

    @property
    def seed(self) -> int:
        """Seed of the draw and of the trainings."""
        return self.recipe.seed_or(self.recipe.audit.seed)

    @property
    def folder(self) -> Path:
        """The folder that the audit writes into."""
        return self.run / "audit"

    @property
    def supernet(self) -> Path:
        """The file that is audited."""
        return self.run / "train" / SUPERNET


def audit_supernet(work: Auditing) -> None:
    """Trains networks alone and compares; writes ``audit/networks.jsonl`` as they come, then ``audit.json``.

    Raises:
        ValueError: more networks than the space holds, or too few that could be trained.
    """
    check_audit(work.space, work.recipe)
    plan, console = _plan(work), work.console
    chosen, supernet = _chosen(work), supernet_hash(work.supernet)
    log = work.folder / "networks.jsonl"
    done = _done(log, supernet, plan.fingerprint, chosen)
    console.say(
        f"training {len(chosen)} networks alone, {plan.alone.epochs} epochs each"
        + (f"; {len(done)} were done before" if done else "")
    )
    failed = _judge_all(work, plan, {name: chosen[name] for name in chosen if name not in done}, supernet)
    done = _done(log, supernet, plan.fingerprint, chosen)
    if len(done) < _FEWEST:
        raise ValueError(
            f"only {len(done)} of {len(chosen)} networks could be trained alone, too few to say anything: "
            f"{failed[0]}"
        )
    summary = summarise(
        list(done.values()),
        supernet=supernet,
        epochs=plan.alone.epochs,
        finetune_epochs=work.recipe.audit.finetune_epochs,
        failed=failed,
        seed=plan.seed,
    )
    write_json(work.folder / "audit.json", summary.to_json())
    if not failed:
        shutil.rmtree(plan.checkpoints, ignore_errors=True)
    _tell(summary, console)
    if (work.run / "report.html").exists():
        write_report(work.run)


def check_audit(space: SearchSpace, recipe: Recipe) -> None:
    """What is known to be impossible before an audit begins anew.

    Raises:
        ValueError: more networks than the space holds.
    """
    wanted = recipe.audit.networks
    if wanted > space.size:
        raise ValueError(f"audit.networks = {wanted}: space {space.name!r} holds only {space.size} networks")


def _chosen(work: Auditing) -> dict[str, tuple[Arch, int]]:
    """The networks by name, with their MACs: both ends of the space, and others spread over the sizes."""
    space = work.space
    costs = AnalyticCosts(space)
    rows = spread(space, macs_of(costs, seed=work.seed), work.recipe.audit.networks, seed=work.seed)
    macs = costs.macs(rows)
    named: dict[str, tuple[Arch, int]] = {}
    for at in np.argsort(macs, kind="stable"):
        arch = space.to_arch(rows[at])
        ends = {"smallest": space.smallest(), "largest": space.largest()}
        name = next((end for end, other in ends.items() if other == arch), f"network-{len(named) + 1}")
        named[name] = (arch, int(macs[at]))
    return named


def _plan(work: Auditing) -> AuditPlan:
    recipe, alone = work.recipe, train_settings(work.recipe.train)
    return AuditPlan(
        alone=replace(alone, epochs=recipe.audit.epochs or alone.epochs),
        further=finetune_settings(recipe, recipe.audit.finetune_epochs),
        teacher_weight=recipe.compress.recovery.teacher_weight,
        temperature=recipe.compress.recovery.temperature,
        prepare=work.data.prepare,
        mix=mix_of(recipe.train, len(work.data.classes)),
        task=work.data.task,
        balance=work.data.balance,
        seed=work.seed,
        checkpoints=work.folder.resolve() / "checkpoints",
    )


def _judge_all(
    work: Auditing, plan: AuditPlan, chosen: dict[str, tuple[Arch, int]], supernet: str
) -> list[str]:
    """Judges networks, a line for each as it is done; returns why some could not be."""
    failed: list[str] = []
    if not chosen:
        return failed
    names, done = list(chosen), 0
    with work.console.progress("audit") as bar, _pool(work, plan) as pool:

        def on_done(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            name = names[outcome.ticket]
            arch, macs = chosen[name]
            if outcome.scores is None:
                if _DISK_FULL in outcome.error:  # no fault of the network's; the others would not fare better
                    raise OSError(errno.ENOSPC, _DISK_FULL, str(plan.checkpoints))
                failed.append(f"{name}: {outcome.error}")
                work.console.warn(f"{name} could not be judged: {outcome.error}")
                return
            seconds = round(outcome.seconds, 1)
            network = AuditedNetwork(name=name, arch=dict(arch), macs=macs, seconds=seconds, **outcome.scores)
            judged = AuditEntry(supernet=supernet, network=network, training=plan.fingerprint)
            append_line(work.folder / "networks.jsonl", judged.to_json())
            plan.checkpoint(work.space, arch).unlink(missing_ok=True)
            note = f"{name}: inherited {network.inherited_test:.1%}, alone {network.alone_test:.1%}"
            bar.update(done, len(names), note)

        bar.update(0, len(names))
        evaluate_all(pool, [(ticket, chosen[name][0]) for ticket, name in enumerate(names)], on_done)
    return failed


def _tell(summary: AuditSummary, console: Console) -> None:
    rows = [
        [
            network.name,
            in_units(network.macs),
            f"{network.inherited_test:.1%}",
            f"{network.finetuned_test:.1%}" if summary.finetune_epochs else "",
            f"{network.alone_test:.1%}",
        ]
        for network in summary.networks
    ]
    columns = ["network", "MACs", "inherited", "fine-tuned", "alone"]
    console.table("Test accuracy", columns, rows)
    for sentence in summary.sentences():
        console.say(sentence)


def _pool(work: Auditing, plan: AuditPlan) -> closing[Pool]:
    """Ray workers on a CPU; one network after the other on a GPU, or where one worker is asked for."""
    workers, data = work.recipe.audit.workers, work.data
    here = work.device.type != "cpu" or workers == 1
    supernet = Supernet.load(work.supernet, work.space, device=work.device if here else "cpu")
    test = data.splits.test
    auditor = Auditor(
        plan=plan,
        evaluator=evaluator_of(supernet, data),
        train=data.training_tensors(supernet.device),
        test=(data.images(test).to(supernet.device), test.labels.to(supernet.device)),
    )
    if here:
        return closing(SerialPool(auditor))
    return closing(
        RayPool(
            partial(worker_auditor, work.space, supernet.index, plan),
            auditor.arrays(),
            workers=workers,
            address=work.recipe.search.ray_address or None,
        )
    )


def _done(
    log: Path, supernet: str, training: str, chosen: dict[str, tuple[Arch, int]]
) -> dict[str, AuditedNetwork]:
    """Those of the chosen networks that were judged, by their present names: more networks move them."""
    judged = [(network.arch, network) for network in _read(log, supernet, training)]
    return {
        name: replace(network, name=name)
        for name, (arch, _) in chosen.items()
        for other, network in judged
        if other == arch
    }


def _read(log: Path, supernet: str, training: str) -> list[AuditedNetwork]:
    """The networks that were judged beside this supernet and trained like this."""
    try:
        entries = [AuditEntry.from_json(line) for line in read_lines(log)]
        return [
            entry.network for entry in entries if (entry.supernet, entry.training) == (supernet, training)
        ]
    except ValueError as error:  # valid JSON, but not what an audit wrote
        raise ValueError(
            f"{log} holds lines that no audit wrote ({error}); delete them, or the file to audit anew"
        ) from error


def supernet_hash(path: Path) -> str:
    """What tells the weights of one supernet from those of another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def audit_warning(run: Path) -> str | None:
    """Why the ranking of a run's supernet should not be taken for granted; None where an audit trusts it.

    Args:
        run: the folder of a run with a trained supernet.
    """
    file = run / "audit" / "audit.json"
    if not file.exists():
        return (
            "how well this supernet ranks networks was not audited; "
            f"quarry audit --out {run} trains some alone and says"
        )
    try:
        summary = AuditSummary.from_json(read_json(file))
    except ValueError as error:
        return f"the audit of this run cannot be read: {error}"
    if summary.supernet != supernet_hash(run / "train" / "supernet.safetensors"):
        return f"the audit of this run is of another supernet; quarry audit --out {run} judges this one"
    if summary.doubt:
        return f"{summary.headline()}. {summary.doubt}: networks of close accuracy may be in the wrong order"
    return None
