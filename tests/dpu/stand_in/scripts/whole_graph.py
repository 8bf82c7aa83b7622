"""A whole graph through vitis_ai_library, as the samples with custom operators do it."""

import sys

import numpy as np
import vitis_ai_library
import xir

graph = xir.Graph.deserialize(sys.argv[1])
runner = vitis_ai_library.GraphRunner.create_graph_runner(graph)
input_tensor_buffers = runner.get_inputs()
output_tensor_buffers = runner.get_outputs()
input_tensor = input_tensor_buffers[0].get_tensor()
batch, height, width = input_tensor.dims[0], input_tensor.dims[1], input_tensor.dims[2]
fix_scale = 2 ** input_tensor.get_attr("fix_point")

means = []
for picture in np.load(sys.argv[2]):
    assert picture.shape[:2] == (height, width)
    for i in range(batch):
        input_data = np.asarray(input_tensor_buffers[0])
        input_data[i][:] = (picture * fix_scale).astype(np.int8)
    v = runner.execute_async(input_tensor_buffers, output_tensor_buffers)
    runner.wait(v)
    output = np.asarray(output_tensor_buffers[0])
    out_scale = 2.0 ** -output_tensor_buffers[0].get_tensor().get_attr("fix_point")
    means.append(float(output.astype(np.float64).mean() * out_scale))
del runner
print(*means)
