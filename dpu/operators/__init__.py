"""The integer operators of a DPU subgraph, one file per family.

Each family has its steps (dataclasses: output shape, whole-number arithmetic, ONNX nodes) and, for each operator type
of AMD's files, the function that reads it.
"""
