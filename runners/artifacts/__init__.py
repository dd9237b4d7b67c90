"""Folders that are handed over: what lies beside a network's file, and the commands that use them."""
