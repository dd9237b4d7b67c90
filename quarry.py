"""Quarry from Python: ``run`` does the whole job, ``stage`` one stage, ``open_run`` reads what is there."""

from runners.console import Told
from runners.reading.load import load_recipe
from runners.run.calls import Result, open_run, run, stage
from runners.run.tracking import Tracker, track, write_studies

__all__ = ["Result", "Told", "Tracker", "load_recipe", "open_run", "run", "stage", "track", "write_studies"]
