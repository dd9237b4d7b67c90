"""Training a network further: with its norms folded on the way, and means of weights before and after."""
