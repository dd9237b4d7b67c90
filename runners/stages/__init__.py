"""The stages of a run, one file each. A stage reads and writes the run's folder, and goes on where it was."""
