"""One runner with float32 buffers that are used again, as notebooks do it."""

import sys

import numpy as np
import vart
import xir

graph = xir.Graph.deserialize(sys.argv[1])
children = graph.get_root_subgraph().toposort_child_subgraph()
dpu = vart.Runner.create_runner([c for c in children if c.get_attr("device") == "DPU"][0], "run")

input_tensors = dpu.get_input_tensors()
output_tensors = dpu.get_output_tensors()
shape_in = tuple(input_tensors[0].dims)
shapes_out = [tuple(tensor.dims) for tensor in output_tensors]
output_data = [np.empty(shape, dtype=np.float32, order="C") for shape in shapes_out]
input_data = [np.empty(shape_in, dtype=np.float32, order="C")]
image = input_data[0]

means = []
for picture in np.load(sys.argv[2]):
    image[0, ...] = picture.reshape(shape_in[1:])
    job_id = dpu.execute_async(input_data, output_data)
    dpu.wait(job_id)
    means.append(float(np.reshape(output_data[0], shapes_out[0]).astype(np.float64).mean()))
del dpu
print(*means)
