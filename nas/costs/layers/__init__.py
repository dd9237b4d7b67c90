"""The layers of a space, and sums over the layers of archs."""
