"""ONNX files: export, quantization, verification, time by operator."""
