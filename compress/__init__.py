"""Compression of any nn.Module: fine-tune, prune, quantize; each step kept only where it pays."""
