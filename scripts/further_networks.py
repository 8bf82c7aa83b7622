"""Networks with published board figures that the latency model is never fitted on: its check.

Figures: the model zoo's tables of Vitis AI 2.5 (Xilinx/Vitis-AI, branch 2.5, model_zoo/README.md): frames a second of
KV260 with several threads, ZCU104 with one and with several. The layers are those of the published architectures; a
network is here only if they add up to the operations that the table states (`gops`, 2 for a multiply-accumulate).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dpu.latency import Layer

Hwc = tuple[int, int, int]


@dataclass(frozen=True)
class Further:
    """A network, its published figures and its layers."""

    name: str
    task: str
    gops: float
    kv260_fps: float
    zcu104_fps_1_thread: float
    zcu104_fps: float
    layers: tuple[Layer, ...]

    @property
    def counted_gops(self) -> float:
        """Operations of the layers."""
        return sum(map(operations, self.layers)) / 1e9


def operations(layer: Layer) -> int:
    """Twice the multiply-accumulates of a layer with weights."""
    (in_h, in_w, depth), (height, width, channels) = layer.in_hwc, layer.out_hwc
    taps = layer.kernel_hw[0] * layer.kernel_hw[1]
    pixels = in_h * in_w if layer.kind == "deconv" else height * width
    each = {"conv": depth, "deconv": depth, "fc": depth * in_h * in_w, "depthwise": 1}.get(layer.kind, 0)
    return 2 * pixels * channels * taps * each


class Stack:
    """Layers one after the other; every method adds one and gives its output's shape."""

    def __init__(self, *input_hwc: int) -> None:
        self.hwc: Hwc = (input_hwc[0], input_hwc[1], input_hwc[2])
        self.layers: list[Layer] = []

    def add_layer(self, kind: str, out_hwc: Hwc, kernel: tuple[int, int] = (1, 1), stride: int = 1) -> Hwc:
        self.layers.append(Layer(f"{kind}_{len(self.layers)}", kind, self.hwc, out_hwc, kernel, stride))
        self.hwc = out_hwc
        return out_hwc

    def _side(self, side: int, kernel: int, stride: int, valid: bool) -> int:
        return (side - kernel) // stride + 1 if valid else -(-side // stride)

    def window(
        self, kind: str, channels: int, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False
    ) -> Hwc:
        """A layer with a window; padded so that only the stride makes the map smaller, or not padded at all."""
        kernel_hw = (kernel, kernel) if isinstance(kernel, int) else kernel
        height, width = (
            self._side(side, size, stride, valid) for side, size in zip(self.hwc[:2], kernel_hw, strict=True)
        )
        return self.add_layer(kind, (height, width, channels), kernel_hw, stride)

    def conv(self, channels: int, kernel: int | tuple[int, int] = 3, stride: int = 1, valid: bool = False) -> Hwc:
        return self.window("conv", channels, kernel, stride, valid)

    def pool(self, kernel: int, stride: int, valid: bool = False) -> Hwc:
        return self.window("pool", self.hwc[2], kernel, stride, valid)

    def depthwise(self, kernel: int = 3, stride: int = 1) -> Hwc:
        return self.window("depthwise", self.hwc[2], kernel, stride)

    def deconv(self, channels: int, kernel: int, stride: int) -> Hwc:
        return self.add_layer(
            "deconv", (self.hwc[0] * stride, self.hwc[1] * stride, channels), (kernel, kernel), stride
        )

    def add(self) -> Hwc:
        return self.add_layer("add", self.hwc)

    def upsample(self, scale: int = 2) -> Hwc:
        return self.add_layer("upsample", (self.hwc[0] * scale, self.hwc[1] * scale, self.hwc[2]))

    def mean(self) -> Hwc:
        return self.add_layer("pool", (1, 1, self.hwc[2]), self.hwc[:2])

    def fc(self, channels: int) -> Hwc:
        return self.add_layer("fc", (1, 1, channels))

    def at(self, hwc: Hwc) -> Stack:
        """Go on from another map."""
        self.hwc = hwc
        return self

    def concat(self, *maps: Hwc) -> Hwc:
        """Maps side by side: their channels add up, no work."""
        self.hwc = (*maps[0][:2], sum(m[2] for m in maps))
        return self.hwc


def vgg(stack: Stack, convolutions: tuple[int, ...]) -> Stack:
    """VGG without its last pool and classifier (Simonyan and Zisserman, arXiv:1409.1556)."""
    for index, (count, channels) in enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True)):
        for _ in range(count):
            stack.conv(channels)
        if index < 4:
            stack.pool(2, 2)
    return stack


def vgg19() -> Stack:
    stack = vgg(Stack(224, 224, 3), (2, 2, 4, 4, 4))
    stack.pool(2, 2)
    for channels in (4096, 4096, 1000):
        stack.fc(channels)
    return stack


def resnet_v1(stack: Stack, blocks: tuple[int, ...], slim: bool) -> Stack:
    """ResNet with bottlenecks; `slim` strides in a stage's last block (TensorFlow slim), else in the first's 3x3."""
    stack.conv(64, 7, 2)
    stack.pool(3, 2)
    for stage, count in enumerate(blocks):
        inner = 64 << stage
        for block in range(count):
            stride = 2 if (slim and block == count - 1 and stage < 3) or (not slim and block == 0 and stage) else 1
            source = stack.hwc
            stack.conv(inner, 1)
            stack.conv(inner, 3, stride)
            target = stack.conv(4 * inner, 1)
            stack.at(source)
            if block == 0:
                stack.conv(4 * inner, 1, stride)
            elif stride == 2:
                stack.pool(1, 2)
            stack.at(target).add()
    return stack


def resnet_v1_152() -> Stack:
    stack = resnet_v1(Stack(224, 224, 3), (3, 8, 36, 3), slim=True)
    stack.mean()
    stack.fc(1000)
    return stack


def personreid_res50() -> Stack:
    stack = resnet_v1(Stack(256, 128, 3), (3, 4, 6, 3), slim=False)
    stack.mean()
    return stack


def mobilenet_v1(stack: Stack, width: float) -> Stack:
    """MobileNet (Howard et al., arXiv:1704.04861), without its classifier."""
    stack.conv(int(32 * width), 3, 2)
    for channels, stride in (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *((512, 1),) * 5,
        *((1024, 2), (1024, 1)),
    ):
        stack.depthwise(3, stride)
        stack.conv(int(channels * width), 1)
    return stack


def mobilenet_v1_half() -> Stack:
    stack = mobilenet_v1(Stack(160, 160, 3), 0.5)
    stack.mean()
    stack.fc(1001)
    return stack


def mobilenet_v2(stack: Stack) -> tuple[Stack, Hwc]:
    """MobileNetV2 (Sandler et al., arXiv:1801.04381), without its classifier, and its map at a sixteenth."""
    stack.conv(32, 3, 2)
    stack.depthwise()
    stack.conv(16, 1)
    middle = stack.hwc
    for channels, count, stride in ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)):
        for block in range(count):
            expanded = stack.conv(6 * stack.hwc[2], 1)
            if (channels, block) == (160, 0):
                middle = expanded
            stack.depthwise(3, stride if block == 0 else 1)
            stack.conv(channels, 1)
            if block:
                stack.add()
    stack.conv(1280, 1)
    return stack, middle


def ssd_heads(stack: Stack, maps: list[Hwc], kernel: int, separable: bool) -> None:
    """Boxes and 91 classes of 3 anchors on the first map, 6 on the others."""
    for index, source in enumerate(maps):
        anchors = 3 if index == 0 else 6
        for channels in (4 * anchors, 91 * anchors):
            stack.at(source)
            if separable:
                stack.depthwise()
            stack.conv(channels, kernel)


def ssd_extras(stack: Stack, separable: bool, channels: tuple[int, ...] = (512, 256, 256, 128)) -> list[Hwc]:
    """The feature maps that SSD (Liu et al., arXiv:1512.02325) adds behind the network."""
    maps = []
    for each in channels:
        stack.conv(each // 2, 1)
        if separable:
            stack.depthwise(3, 2)
            stack.conv(each, 1)
        else:
            stack.conv(each, 3, 2)
        maps.append(stack.hwc)
    return maps


def ssd_mobilenet_v1() -> Stack:
    stack = mobilenet_v1(Stack(300, 300, 3), 1.0)
    last = stack.hwc
    middle = next(layer.out_hwc for layer in reversed(stack.layers) if layer.out_hwc[2] == 512 and layer.kind == "conv")
    maps = [middle, last, *ssd_extras(stack, False)]
    ssd_heads(stack, maps, 1, False)
    return stack


def ssd_mobilenet_v2() -> Stack:
    stack, middle = mobilenet_v2(Stack(300, 300, 3))
    maps = [middle, stack.hwc, *ssd_extras(stack, False)]
    ssd_heads(stack, maps, 3, False)
    return stack


def ssdlite_mobilenet_v2() -> Stack:
    stack, middle = mobilenet_v2(Stack(300, 300, 3))
    maps = [middle, stack.hwc, *ssd_extras(stack, True)]
    ssd_heads(stack, maps, 1, True)
    return stack


def darknet53_yolov3(classes: int) -> Callable[[], Stack]:
    """YOLOv3 at 416 (Redmon and Farhadi, arXiv:1804.02767)."""

    def build() -> Stack:
        stack, outputs, skips = Stack(416, 416, 3), 3 * (5 + classes), []
        stack.conv(32)
        for channels, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
            stack.conv(channels, 3, 2)
            for _ in range(count):
                stack.conv(channels // 2, 1)
                stack.conv(channels)
                stack.add()
            skips.append(stack.hwc)
        for level, channels in enumerate((512, 256, 128)):
            if level:
                stack.conv(channels, 1)
                stack.concat(stack.upsample(), skips[4 - level])
            for _ in range(2):
                stack.conv(channels, 1)
                stack.conv(2 * channels)
            branch = stack.conv(channels, 1)
            stack.conv(2 * channels)
            stack.conv(outputs, 1)
            stack.at(branch)
        return stack

    return build


def superpoint() -> Stack:
    """SuperPoint (DeTone et al., arXiv:1712.07629)."""
    stack = Stack(480, 640, 1)
    for index, channels in enumerate((64, 64, 128, 128)):
        stack.conv(channels)
        stack.conv(channels)
        if index < 3:
            stack.pool(2, 2)
    shared = stack.hwc
    for channels in (65, 256):
        stack.at(shared).conv(256)
        stack.conv(channels, 1)
    return stack


def facerec_resnet20() -> Stack:
    """SphereFace-20 (Liu et al., arXiv:1704.08063) on 112 x 96."""
    stack = Stack(112, 96, 3)
    for channels, blocks in ((64, 1), (128, 2), (256, 4), (512, 1)):
        stack.conv(channels, 3, 2)
        for _ in range(blocks):
            stack.conv(channels)
            stack.conv(channels)
            stack.add()
    stack.fc(512)
    return stack


def yolox_m(classes: int) -> Callable[[], Stack]:
    """YOLOX-m at 640 (Ge et al., arXiv:2107.08430); the focus layer is before the DPU."""

    def csp(stack: Stack, channels: int, count: int, skip: bool) -> Hwc:
        source, half = stack.hwc, channels // 2
        other = stack.conv(half, 1)
        stack.at(source).conv(half, 1)
        for _ in range(count):
            stack.conv(half, 1)
            stack.conv(half)
            if skip:
                stack.add()
        stack.concat(stack.hwc, other)
        return stack.conv(channels, 1)

    def build() -> Stack:
        stack = Stack(320, 320, 12)
        stack.conv(48)
        levels = []
        for channels, count in ((96, 2), (192, 6), (384, 6)):
            stack.conv(channels, 3, 2)
            levels.append(csp(stack, channels, count, True))
        stack.conv(768, 3, 2)
        stack.conv(384, 1)
        source = stack.hwc
        pools = [stack.at(source).pool(kernel, 1) for kernel in (5, 9, 13)]
        stack.concat(source, *pools)
        stack.conv(768, 1)
        csp(stack, 768, 2, False)
        tops = [stack.conv(384, 1)]
        stack.concat(stack.upsample(), levels[2])
        csp(stack, 384, 2, False)
        tops.append(stack.conv(192, 1))
        stack.concat(stack.upsample(), levels[1])
        outputs = [csp(stack, 192, 2, False)]
        for channels, top in ((192, tops[1]), (384, tops[0])):
            stack.concat(stack.conv(channels, 3, 2), top)
            outputs.append(csp(stack, 2 * channels, 2, False))
        for output in outputs:
            stem = stack.at(output).conv(192, 1)
            for heads in ((classes,), (4, 1)):
                stack.at(stem).conv(192)
                branch = stack.conv(192)
                for channels in heads:
                    stack.at(branch).conv(channels, 1)
        return stack

    return build


def erfnet() -> Stack:
    """ERFNet at 512 x 1024 (Romera et al., 2018), 20 classes."""
    stack = Stack(512, 1024, 3)

    def down(channels: int) -> None:
        source = stack.hwc
        pooled = stack.pool(2, 2)
        stack.at(source).concat(stack.conv(channels - source[2], 3, 2), pooled)

    def factored(count: int) -> None:
        for _ in range(count):
            for kernel in ((3, 1), (1, 3), (3, 1), (1, 3)):
                stack.conv(stack.hwc[2], kernel)
            stack.add()

    down(16)
    down(64)
    factored(5)
    down(128)
    factored(8)
    for channels in (64, 16):
        stack.deconv(channels, 3, 2)
        factored(2)
    stack.deconv(20, 2, 2)
    return stack


_PUBLISHED: tuple[tuple[str, str, float, float, float, float, Callable[[], Stack]], ...] = (
    ("tf_vgg19", "classification", 39.28, 18.71, 18.54, 32.69, vgg19),
    ("tf_resnetv1_152", "classification", 21.83, 34.54, 33.81, 64.91, resnet_v1_152),
    ("pt_personreid-res50", "classification", 5.3, 122.43, 114.82, 216.34, personreid_res50),
    ("tf_mobilenetv1_0.5", "classification", 0.150, 1492.12, 950.02, 2614.83, mobilenet_v1_half),
    ("pt_facerec-resnet20", "classification", 3.5, 184.56, 179.71, 314.42, facerec_resnet20),
    ("tf_superpoint", "points", 52.4, 20.57, 11.11, 40.32, superpoint),
    ("tf_ssdmobilenetv1", "detection", 2.47, 172.23, 115.34, 307.17, ssd_mobilenet_v1),
    ("tf_ssdmobilenetv2", "detection", 3.75, 112.72, 85.56, 196.25, ssd_mobilenet_v2),
    ("tf_ssdlite_mobilenetv2", "detection", 1.5, 161.41, 110.49, 280.15, ssdlite_mobilenet_v2),
    ("tf_yolov3_voc", "detection", 65.63, 14.86, 14.44, 28.82, darknet53_yolov3(20)),
    ("pt_yolox_TT100K", "detection", 73.0, 14.62, 13.99, 27.78, yolox_m(45)),
    ("tf2_erfnet", "segmentation", 54.0, 15.38, 7.68, 25.54, erfnet),
)


def further_networks() -> list[Further]:
    """The networks, layers built. Raises AssertionError where the operations are not the table's within 3 %."""
    networks = [
        Further(name, task, gops, kv260, one, many, tuple(build().layers))
        for name, task, gops, kv260, one, many, build in _PUBLISHED
    ]
    for network in networks:
        assert abs(network.counted_gops / network.gops - 1) < 0.03, (network.name, network.counted_gops)
    return networks


# Segmentation with the frames a second of KV260 (several threads) and ZCU104 (one thread), input, and class scores of
# the output in millions: what the processor does with an output. Layers are not needed for that.
SEGMENTATION = (
    ("pt_ENet_cityscapes", 30.00, 10.44, (512, 1024), 512 * 1024 * 19 / 1e6),
    ("tf_mobilenetv2_cityscapes", 3.32, 1.81, (1024, 2048), 1024 * 2048 * 19 / 1e6),
    ("pt_SemanticFPN_cityscapes", 86.73, 36.37, (256, 512), 256 * 512 * 19 / 1e6),
    ("pt_SemanticFPN-mobilenetv2", 33.01, 10.73, (512, 1024), 512 * 1024 * 19 / 1e6),
)

# ZCU102, three cores at 281 MHz, for networks of networks.json: frames a second with one thread and with several.
ZCU102 = {
    "tf_resnetv1_50": (87.95, 191.05),
    "tf_resnetv1_101": (46.38, 110.72),
    "tf2_resnet50": (87.33, 192.94),
    "pt_resnet50": (77.58, 173.16),
    "pt_squeezenet": (575.41, 1499.60),
    "tf_mbv1_1.0": (326.62, 951.00),
    "tf_mbv1_0.25": (1332.90, 4754.20),
    "tf_mbv2_1.0": (268.07, 707.03),
    "tf_mbv2_1.4": (191.08, 473.15),
    "pt_inceptionv3": (59.83, 136.02),
    "pt_reid_res18": (370.36, 690.85),
}

# AMD's pruned networks: the unpruned one in networks.json, operations left, and the same three figures as above.
# Their numbers of channels are not published.
PRUNED = (
    ("pt_resnet50 0.3", "pt_resnet50", 5.8, 103.79, 97.59, 175.01),
    ("pt_resnet50 0.4", "pt_resnet50", 4.9, 109.58, 103.34, 185.46),
    ("pt_resnet50 0.5", "pt_resnet50", 4.1, 120.24, 112.27, 199.57),
    ("pt_resnet50 0.6", "pt_resnet50", 3.3, 136.11, 126.82, 225.88),
    ("pt_resnet50 0.7", "pt_resnet50", 2.5, 149.48, 137.70, 247.08),
    ("tf_resnetv1_50 0.38", "tf_resnetv1_50", 4.3, 126.55, 117.80, 209.94),
    ("tf_resnetv1_50 0.65", "tf_resnetv1_50", 2.45, 162.96, 149.77, 270.73),
    ("tf_vgg16 0.43", "tf_vgg16", 17.67, 47.56, 46.41, 88.40),
    ("tf_vgg16 0.5", "tf_vgg16", 15.64, 51.76, 50.44, 96.87),
    ("pt_inceptionv3 0.3", "pt_inceptionv3", 8.0, 86.79, 80.35, 157.27),
    ("pt_inceptionv3 0.4", "pt_inceptionv3", 6.8, 98.71, 90.53, 180.34),
    ("pt_inceptionv3 0.5", "pt_inceptionv3", 5.7, 112.60, 101.89, 206.08),
    ("pt_inceptionv3 0.6", "pt_inceptionv3", 4.5, 135.54, 120.56, 248.18),
)


def thinned(layers: Sequence[Layer], gops: float) -> tuple[Layer, ...]:
    """The layers with one share of the channels left, but all of them at the input, the last output and in shortcuts.

    The share is the one that leaves `gops`: an assumption where the real numbers of channels are not known.
    """
    shortcuts = {layer.in_hwc for layer in layers if layer.kind == "add"}

    def at(share: float) -> tuple[Layer, ...]:
        def left(hwc: Hwc, whole: bool) -> Hwc:
            return (*hwc[:2], hwc[2] if whole or hwc in shortcuts else max(1, round(hwc[2] * share)))

        last = len(layers) - 1
        return tuple(
            replace(layer, in_hwc=left(layer.in_hwc, i == 0), out_hwc=left(layer.out_hwc, i == last))
            for i, layer in enumerate(layers)
        )

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        few = sum(map(operations, at(middle))) / 1e9 < gops
        low, high = (middle, high) if few else (low, middle)
    return at(high)
