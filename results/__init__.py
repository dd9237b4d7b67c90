"""The ground floor: records, names, registries, fronts, statistics, files, the report, artifacts."""

from results.artifacts.loaded import Loaded, load

__all__ = ["Loaded", "load"]
