"""MODEL in every form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.models import cost_of_layers, open_model
from board_app.core.atomic_file import sha256_of
from board_app.core.errors import BundleError, InputError, RoadslimError, UsageError
from compress.darknet.cfg import read_cfg
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.onnx_export import export_onnx
from compress.darknet.testing import randomise
from compress.darknet.testing_families import family_cfg


def test_every_form_names_the_same_network(run_folder: Path) -> None:
    """Stage folder, cfg with weights, .onnx, .xmodel and bundle agree on input, strides, anchors, classes and work."""
    cfg, weights = run_folder / "distill" / "model.cfg", run_folder / "distill" / "model.weights"
    models = [
        open_model(run_folder / "distill"),
        open_model(None, cfg, weights),
        open_model(run_folder / "distill.onnx"),
        open_model(run_folder / "distill_int.xmodel", cfg),
        open_model(run_folder / "small.bundle"),
    ]
    expected = models[0].spec
    for model in models:
        assert model.spec.input_hw == (64, 64) and len(model.spec.classes) == 2
        assert [(head.stride, head.anchors) for head in model.spec.heads] == [
            (head.stride, head.anchors) for head in expected.heads
        ]
        assert model.record.gmacs == pytest.approx(gmacs(read_cfg(cfg)))
    assert models[0].record.sha256 == sha256_of(weights)
    assert [model.record.precision for model in models] == ["float32"] * 3 + ["int8"] * 2


@pytest.mark.parametrize("name", ["yolov2", "yolov4-tiny"])
def test_heads_of_other_families_are_decoded_their_way(name: str, tmp_path: Path) -> None:
    """An exported network says of softmax and scale what its cfg says, and so its boxes are the same."""
    network = randomise(DarknetNetwork(family_cfg(name, factor=1 / 8)))
    export_onnx(network, tmp_path / "a.onnx")
    heads = open_model(tmp_path / "a.onnx").spec.heads
    expected = open_model(None, *save_model(network, tmp_path)).spec.heads
    for head, wanted in zip(heads, expected, strict=True):
        assert (head.stride, head.scale_xy, head.softmax) == (wanted.stride, wanted.scale_xy, wanted.softmax)
        assert np.array(head.anchors) == pytest.approx(np.array(wanted.anchors))
    assert heads[0].softmax == (name == "yolov2") and heads[0].scale_xy == (1.0 if name == "yolov2" else 1.05)


def test_parameters_are_the_trained_ones_or_the_folded_ones(run_folder: Path) -> None:
    """The cfg counts batch norms; files without them count a bias a channel."""
    cfg = read_cfg(run_folder / "distill" / "model.cfg")
    trained = open_model(run_folder / "distill").record.params
    folded = open_model(run_folder / "small.bundle").record.params
    normalised = sum(s.integer("filters") for s in cfg.layers if s.options.get("batch_normalize") == "1")
    assert trained == parameter_count(cfg) and folded == trained - normalised
    assert open_model(run_folder / "distill.onnx").record.params == folded


def test_a_bundle_knows_its_float_network(run_folder: Path) -> None:
    """The bundle's record names the weights that it was quantised from."""
    weights = run_folder / "distill" / "model.weights"
    assert open_model(run_folder / "small.bundle").record.quantised_from == sha256_of(weights)


def test_a_bundle_and_its_cfg_have_the_same_layers(run_folder: Path) -> None:
    """The work predicted from the graph is that predicted from the cfg."""
    graph = cost_of_layers(open_model(run_folder / "small.bundle").layers)
    cfg = cost_of_layers(open_model(run_folder / "distill").layers)
    assert graph == pytest.approx(cfg)


def test_paths_of_others_stay_out_of_results(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the working folder the path is relative, elsewhere only the name is kept."""
    assert open_model(run_folder / "train").record.path == "model.weights"
    monkeypatch.chdir(run_folder)
    assert open_model(Path("train")).record.path == "train/model.weights"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (None, UsageError, "expected MODEL, or --cfg with --weights"),
        ("nowhere", InputError, "found nothing"),
        ("train/model.cfg", UsageError, "Add the weights"),
        ("train/model.weights", UsageError, "use --cfg and --weights"),
        ("distill_int.xmodel", InputError, "--cfg FILE. A quantise stage's folder"),
        (".", InputError, "Name one of its stages"),
    ],
)
def test_says_what_it_expected(run_folder: Path, path: str | None, error: type[RoadslimError], message: str) -> None:
    """What is no model is refused with what to give instead."""
    with pytest.raises(error, match=message):
        open_model(run_folder / path if path else None)


@pytest.mark.parametrize(("flag", "found"), [("cfg", "--cfg alone. Add --weights"), ("weights", "--weights alone")])
def test_half_a_network_is_named(flag: str, found: str) -> None:
    """Of --cfg and --weights the one that is missing is told."""
    with pytest.raises(UsageError, match=found):
        open_model(None, **{flag: Path("a")})


def test_refuses_a_cfg_of_another_network(run_folder: Path, tmp_path: Path) -> None:
    """An .xmodel whose outputs do not fit the cfg is refused, with both shapes."""
    text = (run_folder / "distill" / "model.cfg").read_text().replace("height=64", "height=96")
    (tmp_path / "other.cfg").write_text(text)
    with pytest.raises(InputError, match="expected one output of shape"):
        open_model(run_folder / "distill_int.xmodel", tmp_path / "other.cfg")


def test_refuses_broken_files(run_folder: Path, tmp_path: Path) -> None:
    """A bundle that was changed and an .onnx that is none are refused."""
    shutil.copytree(run_folder / "small.bundle", tmp_path / "small.bundle")
    (tmp_path / "small.bundle" / "labels.txt").write_text("a\nb\n")
    with pytest.raises(BundleError, match="SHA-256"):
        open_model(tmp_path / "small.bundle")
    (tmp_path / "broken.onnx").write_bytes(b"no network at all")
    with pytest.raises(InputError, match="expected an ONNX network"):
        open_model(tmp_path / "broken.onnx")
