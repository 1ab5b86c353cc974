"""Files that run a trained network without this package, written, quantized and checked.

``network``          the network as a graph of tensors, and the comparison of a file with it
``onnx_file``        ONNX, run by ONNX Runtime
``torch_file``       PyTorch programs
``executorch_file``  ExecuTorch with XNNPACK
``litert_file``      LiteRT, formerly TensorFlow Lite
``formats``          all formats by name
``validation``       scores and latency of a file, samples for calibration
``graph_file``       write a file, check it, and give it its name
"""
