"""The limits of the DPU's operators, against AMD's target descriptions."""

from __future__ import annotations

import pytest

from dpu.architecture import ARCHITECTURES, B4096, decode_fingerprint
from dpu.graph import Attr, Graph, Op, Tensor
from dpu.operator_limits import Target, limits_exceeded


def reasons(kind: str, channels: tuple[int, int], target: Target, **attrs: object) -> list[str]:
    """What is wrong with one operator with the given channels in and out."""
    source = Op("x", "data-fix", {}, {}, Tensor("x", (1, 64, 64, channels[0]), "xint8"))
    stored = {
        key: Attr("int32_vec" if isinstance(v, tuple) else "string", v) for key, v in attrs.items() if key != "group"
    }
    if "group" in attrs:
        stored["group"] = Attr("int32", attrs["group"])
    op = Op("op", kind, stored, {"input": ["x"]}, Tensor("y", (1, 64, 64, channels[1]), "xint8"))
    return [why for _, why in limits_exceeded(Graph("g", [source, op]), {"op"}, target)]


STOCK = Target(B4096)
OLD = Target(B4096, isa=0)


@pytest.mark.parametrize(
    ("kind", "channels", "target", "attrs", "expected"),
    [
        ("conv2d-fix", (16, 16), STOCK, {"kernel": (16, 1), "stride": (8, 1)}, None),
        ("conv2d-fix", (16, 16), STOCK, {"kernel": (17, 1)}, "kernel"),
        ("conv2d", (16, 16), STOCK, {"kernel": (1, 1), "stride": (1, 9)}, "stride"),
        ("conv2d-fix", (4096, 4096), STOCK, {"kernel": (2, 4)}, None),  # 8 * 256 = 2048 rows
        ("conv2d-fix", (4096, 16), STOCK, {"kernel": (3, 3)}, "2304 rows"),
        ("conv2d-fix", (4097, 16), STOCK, {}, "4097 channels in"),
        ("conv2d-fix", (16, 4097), STOCK, {}, "4097 channels out"),
        ("conv2d-fix", (2048, 16), Target(ARCHITECTURES["B512"]), {"kernel": (2, 4)}, None),  # 8 lanes: half of all
        ("conv2d-fix", (2049, 16), Target(ARCHITECTURES["B512"]), {}, "2049 channels in, the most is 2048"),
        ("conv2d-fix", (512, 16), STOCK, {"kernel": (1, 1), "dilation": (9, 9)}, "dilation"),
        ("conv2d-fix", (16, 16), STOCK, {"kernel": (3, 3), "dilation": (2, 2), "pad": (4, 4, 4, 4)}, None),
        ("conv2d-fix", (16, 16), STOCK, {"kernel": (3, 3), "pad": (3, 0, 0, 0)}, "pads by"),
        ("conv2d-fix", (16, 16), STOCK, {"group": 2}, "2 groups"),
        ("conv2d-fix", (16, 16), STOCK, {"nonlinear": "HSWISH"}, None),
        ("conv2d-fix", (16, 16), OLD, {"nonlinear": "HSWISH"}, "HSWISH"),
        ("conv2d-fix", (16, 16), STOCK, {"nonlinear": "PRELU"}, "PRELU"),
        ("conv2d-fix", (16, 16), Target(B4096, conv_leaky=False), {"nonlinear": "LEAKYRELU"}, "built without"),
        ("transposed-conv2d-fix", (16, 16), STOCK, {"kernel": (32, 32), "stride": (2, 2)}, None),
        ("transposed-conv2d-fix", (16, 16), STOCK, {"kernel": (34, 2), "stride": (2, 2)}, "kernel / stride"),
        ("depthwise-conv2d-fix", (16, 16), STOCK, {"kernel": (256, 256)}, None),
        ("depthwise-conv2d-fix", (16, 16), OLD, {"kernel": (17, 17)}, "depthwise kernel"),
        ("depthwise-conv2d-fix", (16, 16), STOCK, {"nonlinear": "LEAKYRELU"}, "built without"),
        ("depthwise-conv2d-fix", (16, 16), Target(B4096, depthwise_leaky=True), {"nonlinear": "LEAKYRELU"}, None),
        ("pool-fix", (16, 16), STOCK, {"kernel": (257, 2)}, "pooling kernel"),
        ("pool-fix", (16, 16), OLD, {"kernel": (9, 9)}, "pooling kernel"),
        ("pool-fix", (16, 16), STOCK, {"kernel": (20, 20), "pad": (16, 0, 0, 0)}, "left and top padding"),
        ("pool-fix", (16, 16), STOCK, {"kernel": (20, 20), "pad": (0, 255, 15, 16)}, None),
        ("eltwise-fix", (16, 16), STOCK, {"type": "MUL"}, None),
        ("eltwise-fix", (16, 16), OLD, {"type": "MUL"}, "only adds"),
        ("eltwise-fix", (16, 16), STOCK, {"nonlinear": "RELU6"}, "after convolutions only"),
        ("concat-fix", (9999, 9999), STOCK, {}, None),  # an address, not an engine
        ("conv2d-fix", (16, 16), STOCK, {"kernel": ("a", "b"), "nonlinear": "NONE"}, None),  # not ours to judge
    ],
)
def test_limits(
    kind: str, channels: tuple[int, int], target: Target, attrs: dict[str, object], expected: str | None
) -> None:
    """At a limit nothing is said; one beyond it is named."""
    found = reasons(kind, channels, target, **attrs)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


def test_the_leaky_slope_of_a_quantised_graph_must_be_the_dpus() -> None:
    """Only 26/256 is in the hardware."""
    source = Op("x", "data", {}, {}, Tensor("x", (1, 8, 8, 16), "float32"))
    conv = Op("c", "conv2d", {}, {"input": ["x"]}, Tensor("c", (1, 8, 8, 16), "float32"))
    for alpha, count in ((26 / 256, 0), (0.1, 1)):
        leaky = Op("l", "leaky-relu", {"alpha": Attr("float", alpha)}, {"input": ["c"]}, conv.output)
        found = limits_exceeded(Graph("g", [source, conv, leaky]), {"x", "c", "l"}, STOCK)
        assert len(found) == count


def test_a_target_has_the_features_of_its_fingerprint() -> None:
    """Leaky ReLU and the instruction set come out of the fingerprint's bits."""
    stock = Target.of(B4096, decode_fingerprint(0x101000056010407))
    assert (stock.isa, stock.conv_leaky, stock.depthwise_leaky) == (1, True, False)
    old = Target.of(B4096, decode_fingerprint(0x1000020F6014407))
    assert (old.isa, old.conv_leaky, old.depthwise_leaky) == (0, True, False)
    assert Target.of(B4096, decode_fingerprint(0x101000020000407)) == Target(B4096, 1, False, True)
