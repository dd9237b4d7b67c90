"""Which network of a space is the largest: counting the work of networks, and finding the ends."""
