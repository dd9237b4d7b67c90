"""An optional stage after training: how far the supernet's ranking can be trusted."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.ranking import spread
from nas.search.pool import Outcome, Pool, SerialPool
from nas.supernet.supernet import Supernet
from results.files import append_line, read_json, read_lines, write_json
from results.numbers import count as in_units
from results.records.audit import AuditedNetwork, AuditEntry, AuditSummary, summarise
from results.report.page import write_report
from runners.pools.evaluate_all import evaluate_all
from runners.pools.ray_pool import RayPool
from runners.run.job import Job
from runners.scoring.auditor import Auditor, AuditPlan, worker_auditor
from runners.stages.compress import finetune_settings
from runners.stages.train import mix_of, train_settings
from search_spaces.space import Arch

_DISK_FULL = os.strerror(errno.ENOSPC)
_FEWEST = 4  # networks that have an order worth speaking of


def run_audit(job: Job) -> None:
    """Trains networks alone and compares; writes ``audit/networks.jsonl`` as they come, then ``audit.json``.

    Raises:
        ValueError: more networks than the space holds, or too few that could be trained.
    """
    check_audit(job)
    recipe, plan = job.recipe.audit, _plan(job)
    chosen, supernet = _chosen(job), supernet_hash(job.supernet_path)
    log = job.path / "audit" / "networks.jsonl"
    done = _done(log, supernet, chosen)
    job.console.say(
        f"training {len(chosen)} networks alone, {plan.alone.epochs} epochs each"
        + (f"; {len(done)} were done before" if done else "")
    )
    failed = _judge_all(job, plan, {name: chosen[name] for name in chosen if name not in done}, supernet)
    done = _done(log, supernet, chosen)
    if len(done) < _FEWEST:
        raise ValueError(
            f"only {len(done)} of {len(chosen)} networks could be trained alone, too few to say anything: "
            f"{failed[0]}"
        )
    summary = summarise(
        list(done.values()),
        supernet=supernet,
        epochs=plan.alone.epochs,
        finetune_epochs=recipe.finetune_epochs,
        failed=failed,
        seed=plan.seed,
    )
    write_json(job.path / "audit" / "audit.json", summary.to_json())
    if not failed:
        shutil.rmtree(plan.checkpoints, ignore_errors=True)
    _tell(job, summary)
    if (job.path / "report.html").exists():
        write_report(job.path)


def check_audit(job: Job) -> None:
    """What is known to be impossible before an audit begins anew.

    Raises:
        ValueError: more networks than the space holds.
    """
    wanted, space = job.recipe.audit.networks, job.space
    if wanted > space.size:
        raise ValueError(f"audit.networks = {wanted}: space {space.name!r} holds only {space.size} networks")


def _chosen(job: Job) -> dict[str, tuple[Arch, int]]:
    """The networks by name, with their MACs: both ends of the space, and others spread over the sizes."""
    recipe, space = job.recipe.audit, job.space
    costs = AnalyticCosts(space)
    rows = spread(space, macs_of(costs, seed=_seed(job)), recipe.networks, seed=_seed(job))
    macs = costs.macs(rows)
    named: dict[str, tuple[Arch, int]] = {}
    for at in np.argsort(macs, kind="stable"):
        arch = space.to_arch(rows[at])
        ends = {"smallest": space.smallest(), "largest": space.largest()}
        name = next((end for end, other in ends.items() if other == arch), f"network-{len(named) + 1}")
        named[name] = (arch, int(macs[at]))
    return named


def _seed(job: Job) -> int:
    recipe = job.recipe.audit
    return job.recipe.seed if recipe.seed is None else recipe.seed


def _plan(job: Job) -> AuditPlan:
    recipe, alone = job.recipe.audit, train_settings(job.recipe.train)
    return AuditPlan(
        alone=replace(alone, epochs=recipe.epochs or alone.epochs),
        further=finetune_settings(job.recipe, recipe.finetune_epochs),
        prepare=job.prepare,
        mix=mix_of(job),
        seed=_seed(job),
        checkpoints=job.path.resolve() / "audit" / "checkpoints",
    )


def _judge_all(job: Job, plan: AuditPlan, chosen: dict[str, tuple[Arch, int]], supernet: str) -> list[str]:
    """Judges networks, a line for each as it is done; returns why some could not be."""
    failed: list[str] = []
    if not chosen:
        return failed
    names, done = list(chosen), 0
    with job.console.progress("audit") as bar, _pool(job, plan) as pool:

        def on_done(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            name = names[outcome.ticket]
            arch, macs = chosen[name]
            if outcome.scores is None:
                if _DISK_FULL in outcome.error:  # no fault of the network's; the others would not fare better
                    raise OSError(errno.ENOSPC, _DISK_FULL, str(plan.checkpoints))
                failed.append(f"{name}: {outcome.error}")
                job.console.warn(f"{name} could not be judged: {outcome.error}")
                return
            seconds = round(outcome.seconds, 1)
            network = AuditedNetwork(name=name, arch=dict(arch), macs=macs, seconds=seconds, **outcome.scores)
            judged = AuditEntry(supernet=supernet, network=network)
            append_line(job.path / "audit" / "networks.jsonl", judged.to_json())
            plan.checkpoint(job.space, arch).unlink(missing_ok=True)
            note = f"{name}: inherited {network.inherited_test:.1%}, alone {network.alone_test:.1%}"
            bar.update(done, len(names), note)

        bar.update(0, len(names))
        evaluate_all(pool, [(ticket, chosen[name][0]) for ticket, name in enumerate(names)], on_done)
    return failed


def _tell(job: Job, summary: AuditSummary) -> None:
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
    job.console.table("Test accuracy", columns, rows)
    for sentence in summary.sentences():
        job.console.say(sentence)


def _pool(job: Job, plan: AuditPlan) -> closing[Pool]:
    """Ray workers on a CPU; one network after the other on a GPU, or where one worker is asked for."""
    workers, splits = job.recipe.audit.workers, job.splits
    here = job.device.type != "cpu" or workers == 1
    supernet = Supernet.load(job.supernet_path, job.space, device=job.device if here else "cpu")
    auditor = Auditor(
        plan=plan,
        evaluator=job.evaluator(supernet),
        train=(splits.train.images.to(supernet.device), splits.train.labels.to(supernet.device)),
        test=(job.images(splits.test).to(supernet.device), splits.test.labels.to(supernet.device)),
    )
    if here:
        return closing(SerialPool(auditor))
    return closing(
        RayPool(
            partial(worker_auditor, job.space, supernet.index, plan),
            auditor.arrays(),
            workers=workers,
            address=job.recipe.search.ray_address or None,
        )
    )


def _done(log: Path, supernet: str, chosen: dict[str, tuple[Arch, int]]) -> dict[str, AuditedNetwork]:
    """Those of the chosen networks that were judged, by their present names: more networks move them."""
    judged = [(network.arch, network) for network in _read(log, supernet)]
    return {
        name: replace(network, name=name)
        for name, (arch, _) in chosen.items()
        for other, network in judged
        if other == arch
    }


def _read(log: Path, supernet: str) -> list[AuditedNetwork]:
    """The networks that were judged beside this supernet."""
    try:
        entries = [AuditEntry.from_json(line) for line in read_lines(log)]
        return [entry.network for entry in entries if entry.supernet == supernet]
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
