"""Training rules: which subnets run in a step, in what order, and what each learns from."""
