"""How long the whole job will take, said before its first stage and written down beside what it took."""

from __future__ import annotations

import time

from results.files import write_json
from results.numbers import duration
from results.records import StageTimes
from runners.run.directory import FORECAST
from runners.run.paces import Pacing, paces_of
from runners.run.stages import BY_NAME
from runners.run.wiring import Wiring
from runners.stages.forecast import forecast
from runners.stages.measure import checked_each


def foretell(made: Wiring) -> None:
    """Says the time of each stage and writes ``forecast.json``; where it is not known, why not.

    A run that was given minutes divides these; one that goes on was told before.
    """
    recipe, console, file = made.run.recipe, made.console, made.path / FORECAST
    if recipe.minutes is not None or recipe.search.ranking == "blockwise" or (made.path / "measure").exists():
        return
    if not made.target.facts.reachable:
        return
    began = time.monotonic()
    try:
        pacing = Pacing(
            space=made.given,
            data=made.data,
            target=made.target,
            forms=made.forms,
            plan=made.plan,
            recipe=recipe,
            device=made.device,
        )
        seconds = forecast(
            recipe,
            paces_of(pacing),
            check_networks=checked_each(made.plan, len(made.forms)),
            seconds_each=made.plan.seconds_each,
        )
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network raises: no run ends for its forecast
        console.say(f"how long it will take is not known: {type(error).__name__}: {error}")
        return
    write_json(file, StageTimes(seconds={name: round(took, 1) for name, took in seconds.items()}).to_json())
    stages = ", ".join(f"{BY_NAME[name].title.lower()} {_words(took)}" for name, took in seconds.items())
    console.say(
        f"the whole job should take {_words(sum(seconds.values()))}: {stages} "
        f"(from a few steps of each, in {time.monotonic() - began:.0f} s)"
    )


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else duration(seconds).replace("\u00a0", " ")
