"""A small network, its int8 bundle, and a small dataset, made once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from board_app.core.atomic_file import sha256_of
from board_app.core.bundle import write_bundle
from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.onnx_export import export_onnx
from compress.darknet.topologies import yolov3_tiny_cfg
from compress.quantization import quantize, to_xmodel
from dpu import xmodel

CLASSES = ("D00", "D10")
SIZE = 64


def _network(seed: int, width: float) -> DarknetNetwork:
    torch.manual_seed(seed)
    network = DarknetNetwork(yolov3_tiny_cfg(len(CLASSES), (SIZE, SIZE), width=width, leaky_slope=0.1015625))
    for layer in network.layers:
        bn = getattr(layer, "bn", None)
        if bn is not None:
            bn.running_mean.uniform_(-0.5, 0.5)
            bn.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(bn.weight, 0.5, 1.5)
            torch.nn.init.uniform_(bn.bias, -0.5, 0.5)
    return network.eval()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run: train/ and distill/ (smaller) with cfg and weights, distill.onnx, distill_int.xmodel, small.bundle."""
    folder = tmp_path_factory.mktemp("run")
    save_model(_network(1, 0.125), folder / "train")
    network = _network(2, 0.0625)
    save_model(network, folder / "distill")
    export_onnx(network, folder / "distill.onnx")
    quantized = quantize(network, [torch.rand(2, 3, SIZE, SIZE)], bias_correction=False)
    graph = to_xmodel(quantized, "small")
    xmodel.save(graph, folder / "distill_int.xmodel")
    heads = [
        {"output": tensor.tensor, "stride": head.stride, "anchors": head.anchors, "fix_point": tensor.fix_point}
        for tensor, head in zip(quantized.heads, network.heads, strict=True)
    ]
    fields = {
        "name": "small",
        "roadslim_version": "0",
        "kind": "quantised",
        "classes": list(CLASSES),
        "input_hw": [SIZE, SIZE],
        "channel_order": "RGB",
        "pixel_scale": 1 / 255,
        "letterbox_grey": 128,
        "input": {"tensor": quantized.input_tensor, "fix_point": quantized.input_fix_point},
        "heads": heads,
        "confidence_threshold": 0.3,
        "iou_threshold": 0.45,
        "max_detections": 100,
        "origin": {"model.weights": sha256_of(folder / "distill" / "model.weights")},
        "accuracy": {},
    }
    write_bundle(folder / "small.bundle", fields, xmodel.dumps(graph), ["crack", "other crack"])
    return folder


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO dataset: val with one picture, test with two, boxes of both classes."""
    folder = tmp_path_factory.mktemp("road")
    boxes = {
        "val": ["0 0.5 0.5 0.25 0.25\n"],
        "test": ["0 0.5 0.5 0.25 0.25\n1 0.25 0.25 0.125 0.25\n", "1 0.75 0.25 0.25 0.25\n"],
    }
    random = np.random.default_rng(4)
    for split, texts in boxes.items():
        names = []
        for index, text in enumerate(texts):
            for kind in ("images", "labels"):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
            name = f"images/{split}/{index}.png"
            cv2.imwrite(str(folder / name), random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
            (folder / "labels" / split / f"{index}.txt").write_text(text)
            names.append(name)
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    (folder / "dataset.yaml").write_text(
        "name: small-roads\norigin: synthetic test pictures\nformat: yolo\nclasses: [D00, D10]\n"
        "labels: [crack, other crack]\nsplits: {val: val.txt, test: test.txt}\n"
    )
    return folder
