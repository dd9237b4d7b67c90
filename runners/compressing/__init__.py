"""A model one has already, made smaller: a front of verified files, and the one that meets a goal."""
