"""Networks taken as they are: their sizes found out, proposed as choices, written and read."""
