"""Search spaces out of a finished network: its own sizes as choices, its own weights to begin with."""
