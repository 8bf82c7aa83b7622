"""Several threads, a runner and int8 buffers each, a batch at a time; prints the mean class of every picture."""

import sys
import threading

import numpy as np
import vart
import xir


def dpu_subgraphs(graph):
    assert graph is not None, "a graph is needed"
    root = graph.get_root_subgraph()
    assert root is not None, "the graph has no root subgraph"
    if root.is_leaf:
        return []
    children = root.toposort_child_subgraph()
    assert children is not None and len(children) > 0
    return [c for c in children if c.has_attr("device") and c.get_attr("device").upper() == "DPU"]


def classify(runner, pictures, count, results):
    inputs = runner.get_input_tensors()
    outputs = runner.get_output_tensors()
    shape_in = tuple(inputs[0].dims)
    shape_out = tuple(outputs[0].dims)
    size_out = int(outputs[0].get_data_size() / shape_in[0])
    scale = 1 / (2 ** outputs[0].get_attr("fix_point"))
    done = 0
    while done < count:
        batch = shape_in[0]
        output_data = [np.empty(shape_out, dtype=np.int8, order="C")]
        output_data += [np.empty(tuple(t.dims), dtype=np.int8, order="C") for t in outputs[1:]]
        input_data = [np.empty(shape_in, dtype=np.int8, order="C")]
        for j in range(batch):
            picture = input_data[0]
            picture[j, ...] = pictures[(done + j) % len(pictures)].reshape(shape_in[1:])
        job_id = runner.execute_async(input_data, output_data)
        runner.wait(job_id)
        for j in range(batch):
            assert output_data[0][j].size == size_out
            results[done + j] = float(output_data[0][j].astype(np.float64).mean() * scale)
        done += batch


def main(argv):
    graph = xir.Graph.deserialize(argv[1])
    subgraphs = dpu_subgraphs(graph)
    assert len(subgraphs) == 1
    runners = []
    for _ in range(3):
        runners.append(vart.Runner.create_runner(subgraphs[0], "run"))
    fix_point = runners[0].get_input_tensors()[0].get_attr("fix_point")
    floats = np.load(argv[2])
    pictures = [(picture * 2**fix_point).astype(np.int8) for picture in floats]
    results = [dict() for _ in runners]
    threads = []
    for i in range(3):
        threads.append(threading.Thread(target=classify, args=(runners[i], pictures, len(pictures), results[i])))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del runners
    assert results[0] == results[1] == results[2]
    print(*[results[0][i] for i in range(len(pictures))])


if __name__ == "__main__":
    main(sys.argv)
