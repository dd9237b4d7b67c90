"""Numbers of few bits in ONNX files: ranges of activations, rounding of weights, what layers lose by it."""
