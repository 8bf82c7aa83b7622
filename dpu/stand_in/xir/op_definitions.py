"""The built-in operators of XIR: their inputs and their attributes, with kinds and defaults.

As embedded in files that xir 3.0 writes (a test compares the table with a real file). Each line is

    OPERATOR...: INPUT... | ATTRIBUTE:KIND...

An input is required once, or `?` optional, `*` any number, `+` one or more. Kinds are i int32, f float, d double,
s string, b bool, B bytes; `i[2]` is a vector of two, `i[]` of any length. `=` makes an attribute optional and gives its
default. Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/xir/src/xir/op/built_in_ops.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_1D = "kernel:i[1] stride:i[1] pad:i[2]=0,0"
_2D = "kernel:i[2] stride:i[2] pad:i[4]=0,0,0,0"
_3D = "kernel:i[3] stride:i[3] pad:i[6]=0,0,0,0,0,0"
_HARD = "nonlinear:s= hsigmoid_in:i=-128 shift_hsigmoid:i=-128 shift_hswish:i=-128"
_SAMPLING = "mode:s align_corners:b=0 half_pixel_centers:b=0"
_VALUE = "shape:i[] data_type:s"
_FIX = "fix_point:i bit_width:i round_mode:s if_signed:b"

_TABLE = f"""
data data-fix: | {_VALUE}
const const-fix: | {_VALUE} data:B
random_standard_normal: | {_VALUE} seed:i=0 seed2:i=0
conv1d: input weights bias? | {_1D} dilation:i[1]=1 pad_mode:s
conv2d: input weights bias? | {_2D} dilation:i[2]=1,1 pad_mode:s group:i=1
conv2d-fix: input weights bias? | {_2D} dilation:i[2]=1,1 {_HARD} group:i=1
depthwise-conv2d transposed-conv2d transposed-depthwise-conv2d:\
 input weights bias? | {_2D} dilation:i[2]=1,1 pad_mode:s
depthwise-conv2d-fix transposed-conv2d-fix transposed-depthwise-conv2d-fix:\
 input weights bias? | {_2D} dilation:i[2]=1,1 {_HARD}
conv3d depthwise-conv3d transposed-conv3d transposed-depthwise-conv3d:\
 input weights bias? | {_3D} dilation:i[3]=1,1,1 pad_mode:s
conv3d-fix depthwise-conv3d-fix transposed-conv3d-fix transposed-depthwise-conv3d-fix:\
 input weights bias? | {_3D} dilation:i[3]=1,1,1 {_HARD}
maxpool1d: input | {_1D} pad_mode:s global:b=0
maxpool2d: input | {_2D} pad_mode:s global:b=0
avgpool2d: input | {_2D} pad_mode:s global:b=0 count_include_pad:b=1 count_include_invalid:b=1
pool-fix: input | {_2D} type:s
add sub mul div min max: input+
eltwise-fix: input+ | nonlinear:s=NONE type:s=ADD
depthwise-fix: input+ | type:s=MUL
concat concat-fix stack: input+ | axis:i
matmul: input+ bias? | transpose_a:b transpose_b:b
inner-product: input weights bias? | axis:i
scale: input scale bias? | axis:i=-1
batchnorm: input gamma beta moving_mean moving_var | axis:i epsilon:f
instancenorm: input weight? bias? | eps:f affine:b
groupnorm: input weight? bias? | num_groups:i num_channels:i eps:f affine:b
relu relu6 selu gelu mish sigmoid swish tanh hard-sigmoid hard-sigmoid-fix hard-swish hard-tanh: input
leaky-relu: input | alpha:f
elu celu: input | alpha:f=1
prelu: input weight
softmax argmax argmax-fix: input | axis:i
hard-softmax: input | axis:i type:s
exp neg identity placeholder shape upload download: input
threshold: input threshold
cast: input | data_type:s
fix float2fix fix2float: input | {_FIX}
reshape: input shape? | shape:i[]=0
reshape-fix: input | shape:i[]
flatten: input | start_axis:i end_axis:i
squeeze: input | axis:i[]=
transpose: input | order:i[]
strided_slice strided_slice-fix: input | begin:i[] end:i[] strides:i[]
pad: input | paddings:i[] mode:s constant_values:f[]=
pad-fix: input | paddings:i[] mode:s constant_values:B=
resize: input size? | {_SAMPLING} scale:f[]=
upsample-fix downsample-fix: input size? | {_SAMPLING} scale:f[2]
reorg reorg-fix pixel-shuffle-fix: input | scale:i reverse:b
pixel-shuffle: input | scale:i upscale:b
gstiling tile-fix: input | reverse:b stride:i
l2_normalize: input | axis:i[]= epsilon:d=1e-12
reduction_max reduction_max-fix reduction_mean reduction_product reduction_sum: input | axis:i[] keep_dims:b
priorbox: input+ | min_sizes:f[] max_sizes:f[]= aspect_ratio:f[]= flip:b clip:b variance:f[] step:f[] offset:f
correlation1d_elemwise correlation1d_elemwise-fix correlation2d_elemwise correlation2d_elemwise-fix:\
 input* | pad_size:i {_VALUE}
cost_volume cost_volume-fix: input* | maxdisp:i {_VALUE}
"""

_KINDS = {"i": "int32", "f": "float", "d": "double", "s": "string", "b": "bool", "B": "bytes"}
_ATTRIBUTE = re.compile(r"(\w+):([ifdsbB])(\[(\d*)\])?(=(.*))?")


@dataclass(frozen=True)
class Argument:
    """A named input: `occurs` is `1` (required), `?`, `*` or `+`."""

    name: str
    occurs: str = "1"

    def takes(self, count: int) -> bool:
        """Whether so many operators may be given."""
        return {"1": count == 1, "?": count < 2, "*": True, "+": count > 0}[self.occurs]


@dataclass(frozen=True)
class Attribute:
    """An attribute: its kind as in `dpu.graph.Attr`, a vector's length (0: any), the default where it is optional."""

    name: str
    kind: str
    length: int = 0
    required: bool = True
    default: Any = None


@dataclass(frozen=True)
class OpDefinition:
    """What an operator takes."""

    type: str
    arguments: tuple[Argument, ...]
    attributes: tuple[Attribute, ...]
    built_in: bool = True


def definition(kind: str) -> OpDefinition:
    """The definition of an operator type; for one that XIR does not know, what it makes up for it."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    return OpDefinition(kind, (Argument("input", "*"),), tuple(_attribute(text) for text in _VALUE.split()), False)


def _attribute(text: str) -> Attribute:
    match = _ATTRIBUTE.fullmatch(text)
    assert match is not None, text
    name, letter, vector, length, optional, default = match.groups()
    kind = _KINDS[letter] + ("_vec" if vector else "")
    value = _default(letter, bool(vector), default) if optional else None
    return Attribute(name, kind, int(length or 0), not optional, value)


def _default(letter: str, vector: bool, text: str) -> Any:
    if vector:
        return tuple(_default(letter, False, item) for item in text.split(",") if item)
    if letter == "b":
        return text == "1"
    read: dict[str, Callable[[str], Any]] = {"i": int, "f": float, "d": float, "s": str, "B": str.encode}
    return read[letter](text)


def _definitions(table: str) -> dict[str, OpDefinition]:
    found = {}
    for line in table.strip().splitlines():
        kinds, _, rest = line.partition(":")
        inputs, _, attributes = rest.partition("|")
        arguments = tuple(
            Argument(word[:-1], word[-1]) if word[-1] in "?*+" else Argument(word) for word in inputs.split()
        )
        for kind in kinds.split():
            found[kind] = OpDefinition(kind, arguments, tuple(_attribute(text) for text in attributes.split()))
    return found


BUILT_IN = _definitions(_TABLE)
