"""Files that run a trained network without this package, written, quantized and checked."""
