"""The roof: recipes, stages, data, the training loop, pools, device backends, the command line."""
