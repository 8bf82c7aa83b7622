"""Make small quantised graphs by hand, in the form the quantiser exports: for tests and measurements."""

from __future__ import annotations

import numpy as np

from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor


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
