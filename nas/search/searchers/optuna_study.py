"""Optuna's study on the disk, which optuna-dashboard opens: a copy of a search's trials beside its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.search.problem import Problem
from results.files import read_lines

if TYPE_CHECKING:
    import optuna


class StudyFile:
    """A study on the disk, for dashboards to read. Trials that it already holds are not added twice."""

    def __init__(self, study: optuna.Study | None) -> None:
        self._study = study
        self._skip = len(study.trials) if study is not None else 0

    @classmethod
    def open(cls, problem: Problem, sampler: str, directions: list[str]) -> StudyFile:
        """The file beside the search's log, made or opened; one that keeps nothing where nothing is logged.

        Args:
            problem: problem with its space and log.
            sampler: name of the sampler, for the name of a new study.
            directions: ``maximize`` or ``minimize`` of each objective.

        Raises:
            ValueError: the file holds a study of another space.
        """
        import optuna

        if problem.log is None:
            return cls(None)
        path = problem.log.with_suffix(".journal")
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        name = f"{problem.space.name}_{sampler}"
        names = optuna.study.get_all_study_names(storage)
        if names:
            study = optuna.load_study(study_name=names[0], storage=storage)
            found = study.user_attrs.get("space")
            if found != problem.space.fingerprint:
                raise ValueError(
                    f"{path} is a study of another space ({names[0]}, {found}), not of "
                    f"{problem.space.name!r} ({problem.space.fingerprint}); delete it or give another log"
                )
            if len(study.trials) <= sum(1 for _ in read_lines(problem.log)):
                return cls(study)
            path.unlink()  # its log was deleted: that search is not continued but begun anew
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        study.set_user_attr("space", problem.space.fingerprint)
        return cls(study)

    def add(self, trial: Any) -> None:
        """Adds a frozen trial, if the file does not hold it."""
        if self._study is None:
            return
        if self._skip:
            self._skip -= 1
            return
        self._study.add_trial(trial)
