"""The ground floor: records, names, registries, fronts, statistics, files, and the report."""
