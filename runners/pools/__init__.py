"""Pools: where archs are evaluated. The searcher never sees which one."""
