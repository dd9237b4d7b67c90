"""The largest network of a space: counting the work of networks, and finding the ends."""
