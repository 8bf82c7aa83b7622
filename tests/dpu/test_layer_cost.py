"""What a layer asks of the DPU: engines, traffic and lanes, for every kind and size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu.architecture import ARCHITECTURES, B4096, BOARDS, Board
from dpu.errors import UnsupportedModelError
from dpu.latency import FITTED, Constants, layer_time, predict
from dpu.layer_cost import FREE, KINDS, Layer, work_of

# Each size has at least the rows and lanes of the one before it in its row.
NESTED = (
    ("B512", "B800", "B1152"),
    ("B512", "B1024", "B1600", "B2304", "B3136", "B4096"),
    ("B1152", "B2304"),
)

sides = st.integers(1, 130)


@st.composite
def any_layer(draw: st.DrawFn) -> Layer:
    """A layer of any kind; its shapes need not follow from each other."""
    kind = draw(st.sampled_from(KINDS))
    channels = draw(st.integers(1, 700))
    filters = channels if kind in ("depthwise", "pool", "add", "mul") else draw(st.integers(1, 700))
    height, width = draw(sides), draw(sides)
    kernel = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    return Layer(
        "x", kind, (height, width, channels), (draw(sides), draw(sides), filters), kernel, draw(st.integers(1, 4))
    )


def board(size: str = "B4096", mhz: float = 300.0, cores: int = 1) -> Board:
    return replace(BOARDS["kv260"], architecture=ARCHITECTURES[size], mhz=mhz, cores=cores)


@given(any_layer(), st.sampled_from((0, 1)))
def test_lanes_in_use_are_a_share(layer: Layer, isa: int) -> None:
    """On every size the used lanes are more than none and at most all, and no figure is negative."""
    for arch in ARCHITECTURES.values():
        work = work_of(layer, arch, isa)
        assert 0.0 < work.lane_use <= 1.0
        assert min(work.cycles, work.streamed_bytes, work.passed_bytes) >= 0


@given(any_layer(), st.sampled_from((0, 1)))
def test_a_smaller_dpu_is_never_faster(layer: Layer, isa: int) -> None:
    """With fewer rows and lanes no layer takes less time."""
    for sizes in NESTED:
        times = [layer_time(layer, ARCHITECTURES[size], 300.0, FITTED, isa).ms for size in sizes]
        assert times == sorted(times, reverse=True)


@given(any_layer(), st.integers(0, 40))
def test_more_channels_never_take_less_time(layer: Layer, more: int) -> None:
    """Time does not fall when channels are added, on either side."""
    if layer.kind in ("depthwise", "pool", "add", "mul"):
        wider = replace(layer, in_hwc=(*layer.in_hwc[:2], layer.in_hwc[2] + more))
        wider = replace(wider, out_hwc=(*layer.out_hwc[:2], layer.out_hwc[2] + more))
    else:
        wider = replace(layer, out_hwc=(*layer.out_hwc[:2], layer.out_hwc[2] + more))
        deeper = replace(layer, in_hwc=(*layer.in_hwc[:2], layer.in_hwc[2] + more))
        assert layer_time(layer, B4096, 300.0).ms <= layer_time(deeper, B4096, 300.0).ms
    assert layer_time(layer, B4096, 300.0).ms <= layer_time(wider, B4096, 300.0).ms


@given(any_layer())
def test_clock_and_cores_help_or_do_nothing(layer: Layer) -> None:
    """A higher clock is never slower, more cores never give fewer frames."""
    if layer.kind in FREE:
        return
    by_clock = [predict([layer], board(mhz=mhz)).dpu_ms for mhz in (50.0, 200.0, 300.0, 400.0)]
    assert by_clock == sorted(by_clock, reverse=True)
    by_cores = [predict([layer], board(cores=cores)).fps_all_cores for cores in (1, 2, 3, 4)]
    assert all(more >= fewer * (1 - 1e-9) for fewer, more in zip(by_cores, by_cores[1:], strict=False))


@pytest.mark.parametrize(
    ("layer", "cycles"),
    [
        (Layer("fc", "fc", (7, 7, 512), (1, 1, 4096), (7, 7)), 1568 * 256),
        (Layer("fc", "fc", (1, 1, 25088), (1, 1, 4096)), 1568 * 256),
        (Layer("1x7", "conv", (17, 17, 128), (17, 17, 192), (1, 7)), 3 * 17 * 8 * 12 * 7),
        (Layer("grouped", "conv", (16, 16, 64), (16, 16, 64), (3, 3), 1, 4), 4 * 2 * 16 * 9),
        (Layer("depthwise", "conv", (16, 16, 64), (16, 16, 64), (3, 3), 1, 64), 4 * 16 * 4 * 9),
        (Layer("depthwise", "depthwise", (16, 16, 64), (16, 16, 64), (3, 3)), 4 * 16 * 4 * 9),
        (Layer("transposed", "deconv", (8, 8, 64), (16, 16, 32), (4, 4), 2), 2 * 16 * 2 * 4 * 4),
        (Layer("transposed", "deconv", (8, 8, 64), (16, 16, 64), (4, 4), 2, 64), 4 * 16 * 4 * 4),
        (Layer("mean", "pool", (7, 7, 2048), (1, 1, 2048)), 128 * 49),
        (Layer("mean", "pool", (7, 7, 2048), (1, 1, 2048), (7, 7)), 128 * 49),
        (Layer("product", "mul", (16, 16, 64), (16, 16, 64)), 4 * 16 * 4),
        (Layer("gate", "hard-sigmoid", (16, 16, 64), (16, 16, 64)), 4 * 16 * 4),
        (Layer("up", "upsample", (4, 4, 64), (128, 128, 64)), 0),
        (Layer("view", "reshape", (4, 4, 64), (1, 1, 1024)), 0),
    ],
)
def test_cycles_of_every_kind(layer: Layer, cycles: int) -> None:
    """Cycles as the engines' widths give them, counted by hand."""
    assert work_of(layer, B4096).cycles == cycles


def test_what_is_only_moved_takes_its_traffic() -> None:
    """An upsampled map of 4 MB is written once; a concat or another view costs nothing."""
    up = work_of(Layer("up", "upsample", (64, 64, 64), (256, 256, 64)), B4096)
    assert up.streamed_bytes + up.passed_bytes == (64 * 64 + 256 * 256) * 64
    for kind in FREE:
        assert layer_time(Layer("f", kind, (64, 64, 64), (64, 64, 64)), B4096, 300.0).ms == 0.0


def test_large_maps_are_read_again_in_the_cheaper_order() -> None:
    """Weights of three bank loads, an input of four: the input streams three times or the weights four times."""
    layer = Layer("x", "conv", (64, 128, 128), (64, 128, 1216), (3, 3))
    source, weights, target = 64 * 128 * 128, 9 * 128 * 1216, 64 * 128 * 1216
    assert work_of(layer, B4096).streamed_bytes == min(3 * source + weights, source + 4 * weights) + target


def test_isa_0_has_less_of_the_memory() -> None:
    """The older DPU's memory-bound layer is slower by the fitted share."""
    layer = Layer("a", "conv", (416, 416, 32), (416, 416, 16), (1, 1))
    old, new = (layer_time(layer, B4096, 300.0, FITTED, isa).memory_ms for isa in (0, 1))
    assert old * FITTED.isa0_bandwidth_share == pytest.approx(new)


def test_constants_say_what_they_do() -> None:
    """A layer's time is the larger of compute and traffic, plus the overhead."""
    constants = Constants(10.0, 5.0, 0.5, 1.0, 1.0, 10.0, 0.0, 0.0, 0.0, 0.0)
    layer = Layer("x", "conv", (64, 64, 16), (64, 64, 16), (1, 1))
    time = layer_time(layer, B4096, 300.0, constants)
    assert time.compute_ms == pytest.approx(8 * 64 / (300e3 * 0.5))
    assert time.memory_ms == pytest.approx((2 * 64 * 64 * 16 + 256) / 5e6)
    assert time.ms == pytest.approx(max(time.compute_ms, time.memory_ms) + 0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "softmax"}, "expected a kind out of conv.*found 'softmax'"),
        ({"in_hwc": (0, 1, 1)}, "at least 1"),
        ({"stride": -2}, "at least 1"),
        ({"in_hwc": (10**9, 1, 1)}, "sides up to 65536"),
        ({"out_hwc": (60000, 60000, 64)}, "fit a board's memory"),
        ({"groups": 3}, "3 groups divide"),
    ],
)
def test_nonsense_is_refused(change: dict[str, object], words: str) -> None:
    """A wrong size or kind is named with what was expected."""
    good = Layer("x", "conv", (16, 16, 16), (16, 16, 16))
    with pytest.raises(UnsupportedModelError, match=words):
        replace(good, **change)
