"""How good networks are."""
