"""A model one has already, compressed: ``compress_model``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from results.files import read_json
from results.records import CardProvenance, CompressedModel, Provenance, read_record
from results.report import write_report
from runners.compressing.given import checked
from runners.compressing.goal import Goal, UnreachableError
from runners.compressing.hand_over import Handing, hand_over
from runners.compressing.job import begin, data_of, opened
from runners.compressing.making import Making
from runners.compressing.options import Options
from runners.console import Console
from runners.stages.trainings import Compressing
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from runners.training.crowd import training_device
from search_spaces.space import Arch, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """What came out.

    Attributes:
        record: the files with their figures, and which is the answer.
        file: path of the answer's file.
        network: network that it was exported from, a plain module on the CPU.
        folder: folder of the whole job, with ``artifacts/`` and ``report.html``.
    """

    record: CompressedModel
    file: Path
    network: nn.Module
    folder: Path


def compress_model(
    network: nn.Module, data: str, goal: Goal, options: Options, *, out: Path, console: Console | None = None
) -> Compressed:
    """Compresses a model as it is: a front of verified files, the answer to a goal among them.

    First it is cut to several shares of its channels, exported and measured, without training: that says
    which shares are worth one, and whether the goal can be reached. The largest are cut, trained on labels
    and on the outputs of the model as it was, and made int8, until a file meets the goal. All files are
    measured side by side; those on the front are run on the test set and handed over with cards. What cannot
    be cut is named in the report with the reason.

    Killed at any point and called again with the same arguments it goes on where it was. Another goal in the
    same folder is answered with what was trained before, and further shares are trained where needed.

    Args:
        network: Any module that takes one tensor and gives logits, or something with ``logits``; trained. It
            is left untouched.
        data: Labelled images: ``digits``, a folder ``train/CLASS/*.jpg``, parquet, or the name of a
            hub's set.
        goal: What the file has to be.
        options: Everything else.
        out: Folder of the job.
        console: Console to speak on; a new one, with a log in the folder, where none is given.

    Raises:
        UnreachableError: no file meets the goal. What was made is kept and handed over.
        ValueError: settings, data or a network that cannot be used; says what is wrong with them.
        OSError: a file cannot be written, or the device is gone.
    """
    recipe = options.recipe(data, network)
    profile = load_profile(options.profile)
    with opened(out, console) as speaking:
        prepared = data_of(recipe, options, out, speaking)
        given = checked(network, prepared)
        begin(out, goal, options, profile, data, given)
        work = Compressing(
            networks=_Given(given),
            data=prepared,
            target=open_target(profile),
            recipe=recipe,
            device=training_device(options.device),
            folder=out / "compress",
            console=speaking,
        )
        making = Making(work, given, goal, options)
        made = making.files()
        origin = CardProvenance.of(
            read_record(Provenance, out / "provenance.json"), read_json(out / "recipe.json")
        )
        found = hand_over(
            Handing(work=work, profile=profile, goal=goal, left=making.scanned.left, origin=origin), made
        )
        write_report(out)
        answer = next(one for one in found.files if one.name == found.answer)
        if not found.met:
            unreached = UnreachableError(
                f"no file meets the goal ({goal.words}): the nearest is {answer.name}, but "
                f"{' and '.join(answer.missed)}. All files are in {out / 'artifacts'}, the front in "
                f"{out / 'report.html'}"
            )
            unreached.record = found
            raise unreached
        candidate = next(one.candidate for one in made if one.name == answer.name)
        file = out / "artifacts" / answer.name / f"model{candidate.file.suffix}"
        return Compressed(record=found, file=file, network=candidate.network, folder=out)


class _Given:
    """The model as it is, as what compression asks networks for."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.space = SearchSpace("the model", (), lambda arch: network)

    def network(self, arch: Arch) -> nn.Module:
        """The model."""
        del arch
        return self._network

    def teacher(self) -> nn.Module | None:
        """The model, too: what is cut out of it learns from it."""
        return self._network
