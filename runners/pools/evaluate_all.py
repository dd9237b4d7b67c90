"""The evaluation of a fixed list of archs on a pool, for jobs that are no search (an audit, a re-scoring)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nas.search.pool import Outcome, Pool
from search_spaces.space import Arch


def evaluate_all(
    pool: Pool, archs: Iterable[tuple[int, Arch]], on_done: Callable[[Outcome], None]
) -> list[Outcome]:
    """Evaluates every arch, keeping the pool full and never much fuller.

    To resume, leave out the tickets that were already done.

    Args:
        pool: pool to use, left open.
        archs: (ticket, arch) pairs, read as they are needed.
        on_done: function called with each outcome in order of finishing, for instance to write it down.

    Returns:
        The outcomes in the order of ``archs``.
    """
    order: list[int] = []
    outcomes: dict[int, Outcome] = {}

    def take() -> None:
        outcome = pool.next()
        outcomes[outcome.ticket] = outcome
        on_done(outcome)

    for ticket, arch in archs:
        if len(order) - len(outcomes) >= pool.capacity:
            take()
        order.append(ticket)
        pool.submit(ticket, arch)
    while len(outcomes) < len(order):
        take()
    return [outcomes[ticket] for ticket in order]
