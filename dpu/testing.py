"""Make small quantised graphs by hand, in the form the quantiser exports, and run what is made of them in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.operators.pooling import average_factors


class QuantisedGraph:
    """Builds a quantised graph operator by operator; each method returns the name of what the next one reads.

        net = QuantisedGraph("net")
        x = net.data("input", (1, 32, 32, 3), fix_point=6)
        x = net.conv("c1", x, weights, 7, bias, 6, fix_point=5, activation="leaky-relu")
        graph = net.graph()

    A `fix_point` of None leaves the fix out, as the quantiser does before a concat.
    """

    def __init__(self, name: str = "net") -> None:
        self.name = name
        self.ops: list[Op] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def graph(self) -> Graph:
        """The graph so far, all operators in the root."""
        return Graph(self.name, list(self.ops), Subgraph("root", tuple(op.name for op in self.ops)))

    def emit(
        self, name: str, kind: str, shape: tuple[int, ...], inputs: dict[str, list[str]], attrs: dict[str, Attr]
    ) -> str:
        """Add any operator; its float32 tensor has the operator's name."""
        self.ops.append(Op(name, kind, attrs, inputs, Tensor(name, shape, "float32")))
        self.shapes[name] = shape
        return name

    def fix(self, source: str, fix_point: int | None) -> str:
        """A `fix` called NAME_fix, or nothing where the fix point is None."""
        if fix_point is None:
            return source
        attrs = {
            "fix_point": Attr("int32", fix_point),
            "bit_width": Attr("int32", 8),
            "if_signed": Attr("bool", True),
            "round_mode": Attr("string", "DPU_ROUND"),
        }
        return self.emit(f"{source}_fix", "fix", self.shapes[source], {"input": [source]}, attrs)

    def data(self, name: str, shape: tuple[int, ...], fix_point: int | None) -> str:
        """An input and its fix."""
        attrs = {"shape": Attr("int32_vec", shape), "data_type": Attr("string", "FLOAT32")}
        return self.fix(self.emit(name, "data", shape, {}, attrs), fix_point)

    def const(self, name: str, integers: np.ndarray, fix_point: int) -> str:
        """int8 integers as a float32 constant and its fix."""
        values = (integers * 2.0**-fix_point).astype("<f4")
        attrs = {
            "shape": Attr("int32_vec", integers.shape),
            "data_type": Attr("string", "FLOAT32"),
            "data": Attr("bytes", values.tobytes()),
        }
        return self.fix(self.emit(name, "const", integers.shape, {}, attrs), fix_point)

    def conv(
        self,
        name: str,
        source: str,
        weights: np.ndarray,
        weights_fix_point: int,
        bias: np.ndarray | None,
        bias_fix_point: int,
        fix_point: int | None,
        activation: str | None = "leaky-relu",
        stride: int = 1,
    ) -> str:
        """A convolution with padding k // 2; weights int8 (O, kh, kw, I), bias int8 (O,)."""
        out, kernel_h, kernel_w, depth = weights.shape
        pad_h, pad_w = kernel_h // 2, kernel_w // 2
        _, height, width, _ = self.shapes[source]
        shape = (1, (height + 2 * pad_h - kernel_h) // stride + 1, (width + 2 * pad_w - kernel_w) // stride + 1, out)
        inputs = {"input": [source], "weights": [self.const(f"{name}_weight", weights, weights_fix_point)]}
        if bias is not None:
            inputs["bias"] = [self.const(f"{name}_bias", bias, bias_fix_point)]
        attrs = {
            "kernel": Attr("int32_vec", (kernel_w, kernel_h)),
            "stride": Attr("int32_vec", (stride, stride)),
            "dilation": Attr("int32_vec", (1, 1)),
            "pad": Attr("int32_vec", (pad_w, pad_w, pad_h, pad_h)),
            "pad_mode": Attr("string", "FLOOR"),
            "group": Attr("int32", 1),
            "in_dim": Attr("int32", depth),
            "out_dim": Attr("int32", out),
            "bias_term": Attr("bool", bias is not None),
        }
        result = self.emit(name, "conv2d", shape, inputs, attrs)
        if activation is not None:
            slope = {"alpha": Attr("float", LEAKY_SLOPE)} if activation == "leaky-relu" else {}
            result = self.emit(f"{name}_act", activation, shape, {"input": [result]}, slope)
        return self.fix(result, fix_point)

    def random_conv(
        self,
        name: str,
        source: str,
        out: int,
        kernel: int,
        rng: np.random.Generator,
        fix_point: int | None,
        activation: str | None = "leaky-relu",
        stride: int = 1,
        weights_fix_point: int = 8,
        bias_fix_point: int = 7,
        spread: float = 20.0,
    ) -> str:
        """A convolution with random int8 weights of a given standard deviation and a random bias."""
        shape = (out, kernel, kernel, self.shapes[source][3])
        weights = np.clip(rng.normal(0, spread, shape), -128, 127).astype(np.int8)
        bias = rng.integers(-128, 128, out, dtype=np.int8)
        return self.conv(name, source, weights, weights_fix_point, bias, bias_fix_point, fix_point, activation, stride)

    def add(self, name: str, sources: list[str], fix_point: int | None) -> str:
        """An addition of equal shapes."""
        return self.fix(self.emit(name, "add", self.shapes[sources[0]], {"input": sources}, {}), fix_point)

    def concat(self, name: str, sources: list[str], fix_point: int | None) -> str:
        """A concatenation of channels."""
        shapes = [self.shapes[source] for source in sources]
        shape = (*shapes[0][:3], sum(shape[3] for shape in shapes))
        joined = self.emit(name, "concat", shape, {"input": sources}, {"axis": Attr("int32", 3)})
        return self.fix(joined, fix_point)

    def max_pool(
        self,
        name: str,
        source: str,
        kernel: int,
        stride: int,
        fix_point: int | None,
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> str:
        """A maximum pool; `pad` is (left, right, top, bottom)."""
        _, height, width, channels = self.shapes[source]
        shape = (
            1,
            (height + pad[2] + pad[3] - kernel) // stride + 1,
            (width + pad[0] + pad[1] - kernel) // stride + 1,
            channels,
        )
        attrs = {
            "kernel": Attr("int32_vec", (kernel, kernel)),
            "stride": Attr("int32_vec", (stride, stride)),
            "pad": Attr("int32_vec", pad),
            "pad_mode": Attr("string", "FLOOR"),
            "global": Attr("bool", False),
        }
        return self.fix(self.emit(name, "maxpool2d", shape, {"input": [source]}, attrs), fix_point)

    def upsample(self, name: str, source: str, scale: int, fix_point: int | None) -> str:
        """Nearest-neighbour upsampling."""
        _, height, width, channels = self.shapes[source]
        attrs = {
            "scale": Attr("float_vec", (float(scale), float(scale))),
            "mode": Attr("string", "NEAREST"),
            "align_corners": Attr("bool", False),
            "half_pixel_centers": Attr("bool", False),
        }
        shape = (1, height * scale, width * scale, channels)
        return self.fix(self.emit(name, "resize", shape, {"input": [source], "size": []}, attrs), fix_point)

    def depthwise(
        self,
        name: str,
        source: str,
        kernel: int,
        rng: np.random.Generator,
        fix_point: int | None,
        activation: str | None = "relu",
        stride: int = 1,
    ) -> str:
        """A convolution of each channel alone with padding k // 2 and random weights, (1, k, k, C)."""
        _, height, width, channels = self.shapes[source]
        pad = kernel // 2
        shape = (1, (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1, channels)
        return self._random_window(
            name,
            "depthwise-conv2d",
            source,
            (1, kernel, kernel, channels),
            shape,
            stride,
            pad,
            rng,
            fix_point,
            activation,
        )

    def transposed(
        self,
        name: str,
        source: str,
        out: int,
        kernel: int,
        stride: int,
        rng: np.random.Generator,
        fix_point: int | None,
        activation: str | None = "relu",
        pad: int = 0,
    ) -> str:
        """A transposed convolution with random weights, (O, k, k, I); `pad` is cut off every side."""
        _, height, width, channels = self.shapes[source]
        shape = (1, (height - 1) * stride + kernel - 2 * pad, (width - 1) * stride + kernel - 2 * pad, out)
        weights = (out, kernel, kernel, channels)
        return self._random_window(
            name, "transposed-conv2d", source, weights, shape, stride, pad, rng, fix_point, activation
        )

    def _random_window(
        self,
        name: str,
        kind: str,
        source: str,
        weights: tuple[int, ...],
        shape: tuple[int, ...],
        stride: int,
        pad: int,
        rng: np.random.Generator,
        fix_point: int | None,
        activation: str | None,
    ) -> str:
        kernel, bias = weights[1], shape[-1]
        inputs = {
            "input": [source],
            "weights": [self.const(f"{name}_weight", rng.integers(-60, 61, weights, dtype=np.int8), 8)],
            "bias": [self.const(f"{name}_bias", rng.integers(-128, 128, bias, dtype=np.int8), 7)],
        }
        attrs = {
            "kernel": Attr("int32_vec", (kernel, kernel)),
            "stride": Attr("int32_vec", (stride, stride)),
            "dilation": Attr("int32_vec", (1, 1)),
            "pad": Attr("int32_vec", (pad,) * 4),
            "pad_mode": Attr("string", "FLOOR"),
        }
        result = self.emit(name, kind, shape, inputs, attrs)
        if activation is not None:
            slope = {"alpha": Attr("float", LEAKY_SLOPE)} if activation == "leaky-relu" else {}
            result = self.emit(f"{name}_act", activation, shape, {"input": [result]}, slope)
        return self.fix(result, fix_point)

    def scaled(self, name: str, source: str, factor: float, fix_point: int | None) -> str:
        """A value times a number without a fix of its own, as the quantiser writes its approximations."""
        attrs = {
            "shape": Attr("int32_vec", (1,)),
            "data_type": Attr("string", "FLOAT32"),
            "data": Attr("bytes", np.array([factor], "<f4").tobytes()),
        }
        number = self.emit(f"{name}_i1", "const", (1,), {}, attrs)
        return self.fix(self.emit(name, "mul", self.shapes[source], {"input": [source, number]}, {}), fix_point)

    def average_pool(self, name: str, source: str, kernel: int, stride: int, fix_point: int | None) -> str:
        """An average pool and the factor with which the quantiser makes the mean the DPU's."""
        _, height, width, channels = self.shapes[source]
        shape = (1, (height - kernel) // stride + 1, (width - kernel) // stride + 1, channels)
        attrs = {
            "kernel": Attr("int32_vec", (kernel, kernel)),
            "stride": Attr("int32_vec", (stride, stride)),
            "pad": Attr("int32_vec", (0, 0, 0, 0)),
            "pad_mode": Attr("string", "FLOOR"),
            "global": Attr("bool", False),
            "count_include_pad": Attr("bool", True),
        }
        factor, shift = average_factors((kernel, kernel))
        mean = self.emit(f"{name}_i0", "avgpool2d", shape, {"input": [source]}, attrs)
        return self.scaled(name, mean, kernel * kernel * factor / 2**shift, fix_point)

    def hard_sigmoid(self, name: str, source: str, fix_point: int | None) -> str:
        """A hard sigmoid and the factor with which the quantiser makes its slope 2731 / 2^14."""
        plain = self.emit(f"{name}_i0", "hard-sigmoid", self.shapes[source], {"input": [source]}, {})
        return self.scaled(name, plain, 6 * 2731 / 16384, fix_point)

    def elementwise(self, name: str, kind: str, sources: list[str], fix_point: int | None) -> str:
        """Any operator whose output has the shape of its inputs, smaller ones repeated: `mul`, `sigmoid`..."""
        shape = np.broadcast_shapes(*(self.shapes[source] for source in sources))
        return self.fix(self.emit(name, kind, shape, {"input": sources}, {}), fix_point)

    def move(
        self, name: str, kind: str, source: str, shape: tuple[int, ...], attrs: dict[str, Attr], fix_point: int | None
    ) -> str:
        """Any operator of one input with attributes: `transpose`, `flatten`, `pad`, `resize`, `reduction_max`..."""
        return self.fix(self.emit(name, kind, shape, {"input": [source]}, attrs), fix_point)

    def fully_connected(
        self,
        name: str,
        source: str,
        out: int,
        rng: np.random.Generator,
        fix_point: int | None,
        activation: str | None = None,
    ) -> str:
        """A product of a vector (1, I) with random weights (O, I), and a bias."""
        weights = rng.integers(-60, 61, (out, self.shapes[source][1]), dtype=np.int8)
        inputs = {
            "input": [source, self.const(f"{name}_weight", weights, 9)],
            "bias": [self.const(f"{name}_bias", rng.integers(-128, 128, out, dtype=np.int8), 7)],
        }
        attrs = {"transpose_a": Attr("bool", False), "transpose_b": Attr("bool", True)}
        result = self.emit(name, "matmul", (1, out), inputs, attrs)
        if activation is not None:
            result = self.emit(f"{name}_act", activation, (1, out), {"input": [result]}, {})
        return self.fix(result, fix_point)


def differing_in_threads(
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    inputs: Sequence[Mapping[str, np.ndarray]],
    tensor: str,
) -> list[int]:
    """Run each input 25 times in a thread of its own, all at once: indices where a tensor was another than alone."""
    expected = [run(given)[tensor] for given in inputs]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(25):
            if not np.array_equal(run(inputs[index])[tensor], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong
