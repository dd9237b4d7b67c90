"""Quarry from Python: ``run`` does the whole job, ``stage`` one stage, ``open_run`` reads what is there."""

from runners.console import Told
from runners.reading.load import load_recipe
from runners.run.calls import Result, open_run, run, stage

__all__ = ["Result", "Told", "load_recipe", "open_run", "run", "stage"]
