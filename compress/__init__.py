"""Passes over any nn.Module: fuse, prune, quantize, distill; export and verification."""
