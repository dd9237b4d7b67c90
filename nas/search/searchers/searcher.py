"""What a searcher is: it proposes archs, learns from their scores, and knows no pools, logs or networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from nas.predictors.predictor import PredictorReport
from nas.search.objectives import Scores
from nas.search.problem import Problem
from search_spaces.space import Rows


class Searcher(ABC):
    """Proposes archs and learns from their scores.

    The constructor takes a ``Problem`` and a seed by position; its keyword-only parameters are the searcher's
    settings, which a recipe can give. A setting called ``population`` is the least budget.

    Attributes:
        population: least budget in evaluations; a search with fewer would end before anything is learnt.
        rounds: quality of the searcher's predictor, each time it was fitted; empty where it has none.
    """

    population: int = 1
    rounds: Sequence[PredictorReport] = ()

    @abstractmethod
    def ask(self, n: int) -> Rows:
        """Proposes canonical archs to score next, (m, n choices), m <= n; no rows if there is nothing left.

        None of them was proposed before, each meets the cheap limits. Scores of earlier ones may still be
        on their way; a searcher that needs them first returns no rows and is asked again after the next.
        """

    @abstractmethod
    def tell(self, rows: Rows, scores: Scores) -> None:
        """Learns the scores of archs, in any order, also of archs that it did not propose.

        Args:
            rows: canonical archs, (n, n choices).
            scores: minimised scores, (n, n objectives); a row of NaN where the evaluation failed.
        """


MakeSearcher = Callable[[Problem, int], Searcher]
"""Makes a searcher from what is searched and a seed. The class of a searcher is one."""
