"""What a run handed over, as those use it who have the folder alone."""
