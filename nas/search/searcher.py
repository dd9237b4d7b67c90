"""What a searcher is, and the searchers by name.

A searcher proposes archs and learns from their scores; it knows nothing of pools, logs or networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nas.search.objectives import Scores
from nas.search.problem import Problem
from results.names import unknown
from search_spaces.space import Rows


class Searcher(Protocol):
    """Proposes archs and learns from their scores.

    One with an attribute ``population`` is not given a smaller budget: it would end before it has learnt
    anything. One with an attribute ``rounds``, a list of ``PredictorReport``, has it in the result.
    """

    def ask(self, n: int) -> Rows:
        """At most n canonical archs to score next, (m, n choices); none when there is nothing to propose.

        None of them was proposed before, each meets the cheap limits. Scores of earlier ones may still be
        on their way; a searcher that needs them first returns no rows and is asked again after the next.
        """

    def tell(self, rows: Rows, scores: Scores) -> None:
        """The scores of archs, in any order, also of archs it did not propose.

        Args:
            rows: (n, n choices), canonical.
            scores: (n, n objectives), minimised; a row of NaN where the evaluation failed.
        """


MakeSearcher = Callable[[Problem, int], Searcher]
"""Makes a searcher from what is searched and a seed. The class of a searcher is one."""

_SEARCHERS: dict[str, MakeSearcher] = {}


def register(name: str, make: MakeSearcher) -> None:
    """Makes a searcher known by name.

    Raises:
        ValueError: the name is taken by another.
    """
    if _known().get(name, make) is not make:
        raise ValueError(f"there is a searcher named {name!r} already; choose another name")
    _SEARCHERS[name] = make


def searchers() -> tuple[str, ...]:
    """The names of all searchers."""
    return tuple(_known())


def searcher(name: str) -> MakeSearcher:
    """The searcher of that name.

    Raises:
        ValueError: there is none.
    """
    known = _known()
    if name not in known:
        raise ValueError(unknown("searcher", name, known))
    return known[name]


def _known() -> dict[str, MakeSearcher]:
    import nas.search.registry  # noqa: F401  (registers this package's own, which import this module)

    return _SEARCHERS
