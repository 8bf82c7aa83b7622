"""A RunnerExt with buffers of its own, filled and read in place."""

import sys

import numpy as np
import vart
import xir

graph = xir.Graph.deserialize(sys.argv[1])
subgraph = [
    s
    for s in graph.get_root_subgraph().toposort_child_subgraph()
    if s.has_attr("device") and s.get_attr("device").upper() == "DPU"
][0]
runner = vart.RunnerExt.create_runner(subgraph, "run")
input_buffers = runner.get_inputs()
output_buffers = runner.get_outputs()
scale_in = 2 ** input_buffers[0].get_tensor().get_attr("fix_point")
scale_out = 2.0 ** -output_buffers[0].get_tensor().get_attr("fix_point")

means = []
for picture in np.load(sys.argv[2]):
    input_data = np.asarray(input_buffers[0])
    input_data[0][:] = (picture * scale_in).astype(np.int8)
    job = runner.execute_async(input_buffers, output_buffers)
    assert runner.wait(job) == 0
    output_data = np.array(output_buffers[0], copy=True)
    means.append(float(output_data.astype(np.float64).mean() * scale_out))
del runner
print(*means)
