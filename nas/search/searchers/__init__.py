"""The searchers, one file each."""
