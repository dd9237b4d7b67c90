"""Search spaces: choices, archs as rows of integers, layers, and the token mixers they are made of."""
