"""What a run optimises for: runtimes and the hardware profiles that name them."""
