"""A run: the folder that holds everything one job made, and from which it resumes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from results.files import is_part, read_json, remove_parts, write_json
from results.names import unknown
from results.records import StageTimes, read_record
from results.records.handed_over import ARTIFACTS, missing
from runners.reading.load import validate
from runners.recipe.keys import MOVED
from runners.recipe.schema import Recipe
from runners.run.manifest import Keeper
from runners.run.provenance import provenance
from runners.run.stages import BY_NAME, HARMLESS, STAGES, before, onward, readers, without

FORECAST = "forecast.json"
"""What was foretold of the stages before the first, in seconds."""


class RunDirectory:
    """An opened run. It is locked: a second process that opens it is refused.

    Args:
        path: folder; made if it is not there.
        recipe: recipe of the job; None takes the one the run was started with.
        command: how it was called, for the record.

    Attributes:
        path: folder of the run.
        recipe: recipe of the job.

    Raises:
        ValueError: the run belongs to another recipe, the folder holds other things, another process
            works in it, or there is no run and no recipe.
    """

    def __init__(self, path: Path, recipe: Recipe | None, command: str) -> None:
        self.path = path
        file = path / "recipe.json"
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file; --out names a folder")
        if not file.exists():
            if path.exists() and any(map(_foreign, path.iterdir())):
                raise ValueError(f"{path} is not empty and holds no run; choose another --out")
            if recipe is None:
                raise ValueError(f"there is no run in {path}; start one with: quarry run RECIPE --out {path}")
        path.mkdir(parents=True, exist_ok=True)
        self._lock = lock(path)
        try:
            self._keeper = Keeper(path, command)
            self.recipe = self._open(recipe, command)
        except BaseException:
            self.close()
            raise

    def _open(self, recipe: Recipe | None, command: str) -> Recipe:
        path = self.path
        file = path / "recipe.json"
        remove_parts(path)
        if not file.exists():
            assert recipe is not None
            write_json(path / "provenance.json", provenance(recipe.seed, command).to_json())
            write_json(file, recipe.model_dump(mode="json"))
        try:
            values = json.loads(file.read_bytes())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file} is damaged ({error}), so this run cannot go on; put back a copy of it, or start "
                "another run with another --out"
            ) from error
        if older := sorted(set(MOVED) & set(_flat(values) if isinstance(values, dict) else ())):
            raise ValueError(
                f"the run in {path} was made by an older version of Quarry, whose recipes had other keys "
                f"({', '.join(older[:3])}, ...). What it made stays readable (report.html, artifacts/); to "
                "go on with it, use the version in provenance.json; or start another run with another --out"
            )
        found = validate(values, f"the recipe of the run in {path}")
        if not (path / "provenance.json").exists():  # it was deleted, say for being damaged; cards need it
            write_json(path / "provenance.json", provenance(found.seed, command).to_json())
        if recipe is not None and recipe != found:
            if not any((path / output).exists() for stage in STAGES for output in stage.writes):
                # Nothing was made under the old one: it was refused for what this one may have mended.
                write_json(path / "provenance.json", provenance(recipe.seed, command).to_json())
                write_json(file, recipe.model_dump(mode="json"))
                return recipe
            keys = [key for key in _differences(found, recipe) if not readers(key)[0].alone]
            if not set(keys) - HARMLESS:
                found = _with(found, recipe, set(keys))
                write_json(file, found.model_dump(mode="json"))
                return found  # nor does an audit with its own settings make it another run
            changed = ", ".join(keys)
            raise ValueError(
                f"{path} holds a run of another recipe; it differs in {changed}. Choose another --out, or "
                f"change a stage of this run with: quarry STAGE --out {path} --set key=value"
            )
        return found

    def close(self) -> None:
        """Lets another process open the run."""
        os.close(self._lock)

    # -- stages -----------------------------------------------------------------------------------

    @property
    def finished(self) -> dict[str, float]:
        """The finished stages whose results are there, and the seconds each took, all its sessions."""
        file = self.path / "stages.json"
        try:
            found = StageTimes.from_json(read_json(file)).seconds if file.exists() else {}
            if strange := set(found) - set(BY_NAME):
                raise ValueError(unknown("stage", min(strange), BY_NAME))
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged ({error}); without it the stages are done again, from what they left"
            ) from error
        there = {
            name for name in found if (self.path / BY_NAME[name].result).exists() and not self._lost(name)
        }
        return {
            name: seconds
            for name, seconds in found.items()
            if name in there
            and all(one in there or BY_NAME[one].repeats for one in self.before(name) if name in onward(one))
        }

    def _lost(self, stage: str) -> bool:
        """Whether something that a stage handed over was deleted or cut short since."""
        return ARTIFACTS in BY_NAME[stage].writes and bool(missing(self.path / ARTIFACTS))

    def before(self, stage: str) -> tuple[str, ...]:
        """The stages of this run that one builds on, first to last."""
        left_out = without(self.recipe.search.ranking)
        return tuple(one for one in before(stage) if one not in left_out)

    def _mark(self, finished: dict[str, float]) -> None:
        write_json(self.path / "stages.json", StageTimes(seconds=finished).to_json())

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Marks a stage finished when its work ends without an error; writes down what it took."""
        section = getattr(self.recipe, BY_NAME[name].section, None)
        self._keeper.begin(name, self.recipe.seed_or(getattr(section, "seed", None)))
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may be what is full
                self._keeper.end(finished=False)
            raise
        self._keeper.end(finished=True)
        self._mark(self.finished | {name: round(self._keeper.seconds(name), 1)})

    def require(self, stage: str) -> None:
        """Checks that what a stage builds on is there.

        Raises:
            ValueError: an earlier stage is not finished; says which command does it.
        """
        if stage in without(self.recipe.search.ranking):
            raise ValueError(
                f'there is nothing to {stage}: with search.ranking = "{self.recipe.search.ranking}" networks '
                "share no weights and are trained by the search"
            )
        for earlier in self.before(stage):
            if earlier not in self.finished:
                raise ValueError(
                    f"{stage} needs the {earlier} stage first; run: quarry {earlier} --out {self.path}"
                )

    def revise(self, recipe: Recipe, stage: str, check: Callable[[], None] = lambda: None) -> Path | None:
        """Takes a changed recipe, putting aside what was made under the old one.

        That is what this stage, others that work on what is changed, and later ones made.

        Args:
            recipe: the changed one.
            stage: whose settings it changes.
            check: called with the new recipe in place, before anything is put aside; what it raises leaves
                the run as it was.

        Returns:
            As ``put_aside``.

        Raises:
            ValueError: the change concerns an earlier stage, whose results would no longer be the recipe's.
        """
        place = None
        changed = _differences(self.recipe, recipe)
        if not changed:
            return place
        if "search.ranking" in changed:
            raise ValueError(
                "search.ranking decides what a run measures and trains from the beginning; start another run "
                "with another --out"
            )
        for key in changed:
            whose = readers(key)[-1].name  # that of a key of several is the training
            if whose not in {stage, *onward(stage)} and key != "parts":  # a later stage may have its own
                raise ValueError(
                    f"{key} belongs to the {whose} stage, not to {stage}; change it with: quarry "
                    f"{whose} --out {self.path} --set {key}=..., or start another run with another --out"
                )
        unchanged, self.recipe = self.recipe, recipe
        try:
            check()
        except BaseException:
            self.recipe = unchanged
            raise
        if worked_on := set(changed) - HARMLESS:
            also = [one.name for key in worked_on for one in readers(key) if len(readers(key)) > 1]
            self._untell(stage, *also)
            place = self.put_aside(stage, *also)
        write_json(self.path / "recipe.json", recipe.model_dump(mode="json"))
        return place

    def _untell(self, *stages: str) -> None:
        """Forgets what was foretold of stages and later ones, which was under other settings."""
        file = self.path / FORECAST
        if file.exists():
            later = {name for stage in stages for name in onward(stage)}
            with contextlib.suppress(ValueError):  # damaged, which the report says
                told = read_record(StageTimes, file).seconds
                kept = {name: seconds for name, seconds in told.items() if name not in later}
                write_json(file, StageTimes(seconds=kept).to_json())

    def put_aside(self, *stages: str) -> Path | None:
        """Moves what these stages and later ones made to ``earlier/N``, and counts them as not done.

        Returns:
            That folder; None where they had made nothing.
        """
        later = [one.name for one in STAGES if any(one.name in onward(stage) for stage in stages)]
        present = [self.path / output for name in later for output in BY_NAME[name].writes]
        present = [path for path in present if path.exists()]
        # First the mark: killed in between, the stages run again over what is left.
        self._mark({name: seconds for name, seconds in self.finished.items() if name not in later})
        self._keeper.put_aside(later)
        if not present:
            return None
        numbers = [int(old.name) for old in (self.path / "earlier").glob("*") if old.name.isdigit()]
        place = self.path / "earlier" / str(1 + max(numbers, default=0))
        place.mkdir(parents=True)
        for path in reversed(present):  # killed in between, no stage is left without what it builds on
            shutil.move(path, place / path.name)
        return place

    def put_aside_stale(self, stage: str) -> Path | None:
        """Moves away what later stages made of a result that is not there any more.

        Returns:
            As ``put_aside``.
        """
        later = [] if BY_NAME[stage].repeats else [name for name in onward(stage) if name != stage]
        stale = [n for n in later if any((self.path / output).exists() for output in BY_NAME[n].writes)]
        return self.put_aside(stale[0]) if stale else None


def _foreign(entry: Path) -> bool:
    """Whether something in a folder is not what a run leaves that was killed while it was started."""
    return entry.name not in (".lock", "provenance.json") and not is_part(entry)


def lock(path: Path) -> int:
    """Locks a folder for this process, until the handle that is returned is closed.

    Raises:
        ValueError: another process works in it.
    """
    handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the kernel however we end
    except OSError as error:
        os.close(handle)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise ValueError(f"another quarry process is working in {path}; wait for it or stop it") from None
    return handle


def works(path: Path) -> bool:
    """Whether a process works in a folder now; a folder that may only be read can be asked, too."""
    try:
        handle = os.open(path / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _with(recipe: Recipe, other: Recipe, keys: Collection[str]) -> Recipe:
    """The recipe with these dotted keys as another one has them."""
    sections: dict[str, dict[str, Any]] = {}
    if "parts" in keys:
        recipe = recipe.model_copy(update={"parts": other.parts})
    for key in set(keys) - {"parts"}:
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = getattr(getattr(other, section), name)
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=new) for name, new in sections.items()}
    )


def _differences(first: Recipe, second: Recipe) -> list[str]:
    """The keys, dotted, in which two recipes differ."""
    one, other = _flat(first.model_dump(mode="json")), _flat(second.model_dump(mode="json"))
    return sorted(
        key for key in one.keys() | other.keys() if one.get(key, _MISSING) != other.get(key, _MISSING)
    )


_MISSING = object()  # a setting that one of two parts has


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
