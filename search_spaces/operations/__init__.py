"""What mixers and blocks have in common: made by name, with searched choices and settings of their own."""
