"""What `predict` is asked about and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.predict import board_of, chosen, document_of, networks_of, text_of
from board_app.core.errors import InputError, RoadslimError, UsageError
from compress.darknet.cfg import write_cfg
from compress.darknet.testing_families import FAMILIES, family_cfg
from dpu.architecture import ARCHITECTURES, BOARDS
from dpu.errors import UnknownBoardError

LAYER = {"kind": "conv", "in_hwc": [64, 64, 16], "out_hwc": [64, 64, 32], "kernel_hw": [3, 3], "stride": 1}


def test_all_forms_of_a_network_agree(run_folder: Path) -> None:
    """Cfg, stage folder, .xmodel and bundle of one network have the same predicted time."""
    files = ("distill/model.cfg", "distill", "distill_int.xmodel", "small.bundle")
    times = [networks_of(run_folder / file)[0].predict("zcu104").dpu_ms for file in files]
    assert times == pytest.approx([times[0]] * 4)


def test_json_has_the_fixed_fields(run_folder: Path) -> None:
    """The document has the fields that other programs read, layers included, and adds up."""
    document = document_of(networks_of(run_folder / "train"), "zcu104")
    fields = "name board dpu_mhz cores dpu_ms end_to_end_ms_one_thread fps_all_cores low_ms high_ms origin layers"
    assert set(fields.split()) <= document.keys() and document["origin"] == "predicted" and document["name"] == "train"
    assert document["low_ms"] <= document["dpu_ms"] <= document["high_ms"]
    for layer in document["layers"]:
        assert {"name", "kind", "ms", "bound", "lane_use"} <= layer.keys() and layer["bound"] in ("compute", "memory")
    assert sum(layer["ms"] for layer in document["layers"]) == pytest.approx(document["dpu_ms"])


def test_a_larger_input_takes_longer(run_folder: Path) -> None:
    """--size predicts a cfg at another size; a file with a settled size refuses it."""
    cfg = run_folder / "train" / "model.cfg"
    small, large = networks_of(cfg)[0], networks_of(cfg, (256, 320))[0]
    assert large.layers[0].in_hwc[:2] == (256, 320)
    assert large.predict("zcu104").dpu_ms > small.predict("zcu104").dpu_ms
    with pytest.raises(UsageError, match="settled size"):
        networks_of(run_folder / "small.bundle", (64, 64))
    with pytest.raises(UsageError, match="--size: expected a height and a width of at least 1"):
        networks_of(cfg, (0, 64))


def test_what_the_dpu_does_not_run_is_told(tmp_path: Path) -> None:
    """YOLOv2's reorg is not counted and named with its line; the other families run whole."""
    for name in FAMILIES:
        write_cfg(family_cfg(name, 3, 416, 416), tmp_path / f"{name}.cfg")
        (network,) = networks_of(tmp_path / f"{name}.cfg")
        assert network.predict("zcu104").dpu_ms > 1
        assert network.note.startswith("not counted, since it runs on the processor: line") == (name == "yolov2")
        assert ("[reorg]" in network.note) == (name == "yolov2")


def test_layer_tables(tmp_path: Path) -> None:
    """A table of several networks gives each, or the named one; fields of others' tables do not matter."""
    table = [{"name": name, "layers": [LAYER] * count, "gops": 1} for name, count in (("one", 1), ("two", 2))]
    (tmp_path / "table.json").write_text(json.dumps(table))
    networks = networks_of(tmp_path / "table.json")
    assert [len(network.layers) for network in networks] == [1, 2]
    assert [entry["name"] for entry in document_of(networks, "zcu104")["networks"]] == ["one", "two"]
    assert document_of(chosen(networks, "two"), "kv260")["board"] == "kv260"
    with pytest.raises(UsageError, match="expected one of one, two"):
        chosen(networks, "three")


def test_the_published_networks(shared_data: Path) -> None:
    """Every network of the layer table can be predicted."""
    networks = networks_of(shared_data / "zcu104" / "networks.json")
    assert len(networks) > 10 and all(network.predict("zcu104").dpu_ms > 0 for network in networks)


def test_text_shows_where_the_time_goes(run_folder: Path) -> None:
    """The slowest layers by default, all with --layers, and the word predicted."""
    (network,) = networks_of(run_folder / "train")
    short, long = (text_of(network, network.predict("zcu104"), every) for every in (False, True))
    assert "predicted" in short and short.count("  lanes ") == 5
    assert long.count("  lanes ") == len(network.layers)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("no.cfg", None, InputError),
        ("a.json", "[{]", InputError),
        ("a.json", '{"name": "x"}', InputError),
        ("a.json", "[]", InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"in_hwc": [1, 2]}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"kind": "softmax"}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"in_hwc": [64, 0, 16]}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"in_hwc": [64, -1, 16]}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"in_hwc": [64, 10**12, 16]}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"stride": float("nan")}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER | {"kernal": 3}]}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": []}), InputError),
        ("a.json", json.dumps({"name": "x", "layers": [LAYER], "isa": 2}), InputError),
        ("a.json", '"x"', InputError),
        ("a.json", "[" * 100_000, InputError),
        ("a.cfg", "[net]\nheight=32\nwidth=32\nchannels=3\n[lstm]\n", RoadslimError),
        ("a.txt", "layers", UsageError),
    ],
)
def test_refuses_what_has_no_layers(tmp_path: Path, name: str, content: str | None, error: type[RoadslimError]) -> None:
    """Missing, broken and other files are refused by name."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=name):
        networks_of(tmp_path / name)


def test_what_an_xmodel_tells(shared_data: Path) -> None:
    """The instruction set of its DPU, and what is not counted: of a quantised file as of the compiled one."""
    files = ("zcu104_vai2.0_small_cnn", "zcu104_vai3.0_pointpillars", "quantised_only_voxelnet_int")
    (old,), (compiled,), (quantised,) = (networks_of(shared_data / "xmodels" / f"{name}.xmodel") for name in files)
    assert (old.isa, compiled.isa, quantised.isa) == (0, 1, 1)
    assert compiled.note == "the sum of 2 DPU subgraphs; not counted: operators on the CPU (5)"
    assert quantised.note.startswith("the sum of 2 DPU subgraphs; not counted: operators on the CPU (")


def test_other_names_of_kinds(tmp_path: Path) -> None:
    """A table may say transposed or avgpool, strides of two numbers and a dilation."""
    rows = [
        {"kind": "transposed", "in_hwc": [8, 8, 16], "out_hwc": [16, 16, 16], "kernel_hw": [2, 2], "stride": [2, 2]},
        {"kind": "avgpool", "in_hwc": [16, 16, 16], "out_hwc": [1, 1, 16]},
        LAYER | {"dilation": 6, "groups": 16},
    ]
    (tmp_path / "t.json").write_text(json.dumps({"name": "t", "layers": rows, "task": "segmentation"}))
    (network,) = networks_of(tmp_path / "t.json")
    assert [(layer.kind, layer.stride, layer.groups) for layer in network.layers] == [
        *(("deconv", 2, 1), ("pool", 1, 1), ("conv", 1, 16)),
    ]
    assert network.predict("zcu104").dpu_ms > 0


def test_boards() -> None:
    """A board by name, or with another size, clock or number of cores; nonsense is refused."""
    assert board_of("zcu104") is BOARDS["zcu104"]
    own = board_of("zcu104", "B1024", 200.0, 1)
    assert (own.architecture.name, own.mhz, own.cores, own.name) == ("B1024", 200.0, 1, "zcu104")
    assert board_of("zcu104", cores=1).mhz == 300.0
    with pytest.raises(UnknownBoardError, match="zcu999"):
        board_of("zcu999")
    wrong = (
        (("B999",), "--dpu"),
        ((None, 0.0), "--mhz"),
        ((None, float("nan")), "--mhz"),
        ((None, None, 0), "--cores"),
    )
    for values, flag in wrong:
        with pytest.raises(UsageError, match=flag):
            board_of("zcu104", *values)  # type: ignore[arg-type]


def test_smaller_boards_take_longer(shared_data: Path) -> None:
    """The eight sizes in the order of their peak, on a full detector: no smaller one is faster."""
    networks = networks_of(shared_data / "zcu104" / "networks.json")
    (network,) = chosen(networks, "dk_yolov4_coco")
    times = [network.predict(board_of("zcu104", size)).dpu_ms for size in ARCHITECTURES]
    assert times == sorted(times, reverse=True)
