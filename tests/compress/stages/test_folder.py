"""Run folders."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from board_app.core.errors import InputError, RoadslimError
from compress.stages.folder import StageFolder, StageKey, exclusive

KEY = StageKey({"data": "a1"}, {"epochs": 3})


def finish(folder: StageFolder, key: StageKey, content: str) -> None:
    (folder.begin(key) / "model.cfg").write_text(content)
    folder.finish(key, {"map50": 0.5}, "0.0", 1.0)


def test_a_finished_stage_is_known_by_its_key(tmp_path: Path) -> None:
    """The same inputs and settings: finished; other settings or inputs: not."""
    folder = StageFolder(tmp_path, "train")
    assert not folder.is_finished(KEY)
    finish(folder, KEY, "one")
    assert folder.is_finished(KEY)
    assert not folder.is_finished(StageKey({"data": "b2"}, KEY.settings))
    assert not folder.is_finished(StageKey(KEY.inputs, {"epochs": 4}))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    """A stage whose output was edited is not taken for finished."""
    folder = StageFolder(tmp_path, "train")
    finish(folder, KEY, "one")
    (folder.path / "model.cfg").write_text("edited")
    assert not folder.is_finished(KEY)


def test_the_finished_stage_stays_while_the_next_is_made(tmp_path: Path) -> None:
    """Until the new one is whole, the old one's files are what they were."""
    folder = StageFolder(tmp_path, "train")
    finish(folder, KEY, "one")
    other = StageKey(KEY.inputs, {"epochs": 4})
    (folder.begin(other) / "model.cfg").write_text("two")
    assert (folder.path / "model.cfg").read_text() == "one"
    folder.finish(other, {}, "0.0", 1.0)
    assert (folder.path / "model.cfg").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]


def test_a_killed_attempt_is_taken_up_with_the_same_key_only(tmp_path: Path) -> None:
    """Its checkpoint is still there; with another key the attempt starts empty."""
    folder = StageFolder(tmp_path, "train")
    (folder.begin(KEY) / "checkpoint.pt").write_text("state")
    assert (folder.begin(KEY) / "checkpoint.pt").exists()
    assert not (folder.begin(StageKey(KEY.inputs, {"epochs": 4})) / "checkpoint.pt").exists()


def test_what_was_stopped_is_kept_while_settings_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Other settings start afresh beside it; with the old ones back it is gone on with; no work, nothing kept."""
    folder, other = StageFolder(tmp_path, "train"), StageKey(KEY.inputs, {"epochs": 4})
    (folder.begin(KEY) / "checkpoint.pt").write_text("59 epochs")
    assert not (folder.begin(other) / "checkpoint.pt").exists()
    (aside,) = tmp_path.glob("train.stopped-*")
    assert (
        f"settings.epochs; what was done until then is kept in {aside}: it is gone on with when all is as"
        in caplog.messages[-1]
    )
    assert (folder.begin(KEY) / "checkpoint.pt").read_text() == "59 epochs"
    assert [path.name for path in tmp_path.iterdir()] == ["train.partial"]
    folder.begin(other)
    folder.discard_attempt(KEY)
    assert not (folder.begin(KEY) / "checkpoint.pt").exists()


def test_a_fresh_start_costs_no_work_with_other_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only what of the same settings was begun is thrown away; the rest is set aside, and that is said."""
    folder, other = StageFolder(tmp_path, "train"), StageKey(KEY.inputs, {"epochs": 4})
    (folder.begin(KEY) / "checkpoint.pt").write_text("59 epochs")
    folder.discard_attempt(other)
    assert "train: changed since it was stopped: settings.epochs" in caplog.messages[-1]
    assert not (folder.begin(other) / "checkpoint.pt").exists()
    assert (folder.begin(KEY) / "checkpoint.pt").read_text() == "59 epochs"


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff{"])
def test_work_whose_settings_are_not_known_any_more_is_kept(tmp_path: Path, damage: bytes) -> None:
    """A key.json that is damaged is no reason to throw a checkpoint away."""
    folder = StageFolder(tmp_path, "train")
    for kept in (1, 2):
        (folder.begin(KEY) / "checkpoint.pt").write_text("59 epochs")
        (folder.partial / "key.json").write_bytes(damage)
        assert not (folder.begin(KEY) / "checkpoint.pt").exists()
        asides = list(tmp_path.glob("train.stopped-*"))
        assert [(aside / "checkpoint.pt").read_text() for aside in asides] == ["59 epochs"] * kept


def test_a_kill_between_the_last_two_renames_loses_nothing(tmp_path: Path) -> None:
    """A whole partial folder takes its place at the next start."""
    folder = StageFolder(tmp_path, "train")
    finish(folder, KEY, "one")
    folder.path.rename(folder.partial)
    assert folder.is_finished(KEY) and (folder.path / "model.cfg").read_text() == "one"


def test_a_full_disk_at_the_very_end_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is still there when stage.json could not be written."""
    folder = StageFolder(tmp_path, "train")
    (folder.begin(KEY) / "checkpoint.pt").write_text("state")

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("compress.stages.folder.write_text", full)
        folder.finish(KEY, {}, "0.0", 1.0)
    assert (folder.begin(KEY) / "checkpoint.pt").read_text() == "state"
    folder.finish(KEY, {}, "0.0", 1.0)
    assert sorted(path.name for path in folder.path.iterdir()) == ["stage.json"]


def test_files_that_a_kill_cut_off_are_no_outputs(tmp_path: Path) -> None:
    """Only the checkpoint is taken over from a killed attempt."""
    folder = StageFolder(tmp_path, "train")
    partial = folder.begin(KEY)
    for name in (".model.weights.17.partial", "metrics.jsonl", "checkpoint.pt"):
        (partial / name).write_text("half")
    (partial / ".small.bundle.17.partial").mkdir()
    assert sorted(path.name for path in folder.begin(KEY).iterdir()) == ["checkpoint.pt", "key.json"]


def test_a_fresh_attempt_that_was_killed_is_gone_on_with_and_costs_nothing_before(tmp_path: Path) -> None:
    """The finished stage can be read until the new one is whole, but is not taken for the new one."""
    folder = StageFolder(tmp_path, "train")
    finish(folder, KEY, "one")
    folder.discard_attempt(KEY)
    (folder.begin(KEY) / "checkpoint.pt").write_text("state")
    assert folder.results() == {"map50": 0.5} and not folder.is_finished(KEY)
    assert (folder.begin(KEY) / "checkpoint.pt").exists()
    finish(folder, KEY, "two")
    assert folder.is_finished(KEY) and (folder.path / "model.cfg").read_text() == "two"


def test_results_of_a_stage_that_has_not_run_say_which_command_to_run(tmp_path: Path) -> None:
    """The message names the stage."""
    with pytest.raises(InputError, match="roadslim train"):
        StageFolder(tmp_path, "train").results()


def test_stage_json_has_inputs_settings_results_and_hashes(tmp_path: Path) -> None:
    """Everything that the contract names."""
    folder = StageFolder(tmp_path, "train")
    finish(folder, KEY, "one")
    document = json.loads((folder.path / "stage.json").read_text())
    assert document["inputs"] == KEY.inputs and document["settings"] == KEY.settings
    assert document["results"] == {"map50": 0.5} and len(document["outputs"]["model.cfg"]) == 64


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    """The second gets an error while the first holds the folder, and the folder after it."""
    holder = f"another process at work in it .process {os.getpid()} on {socket.gethostname()}.. Wait"
    with exclusive(tmp_path), pytest.raises(RoadslimError, match=holder), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    """What was there before stays, and so does what came in."""
    (tmp_path / "before").mkdir()
    for name in ("before", "refused", "begun"):
        with pytest.raises(InputError, match="refused"), exclusive(tmp_path / name):
            if name == "begun":
                (tmp_path / name / "train.partial").mkdir()
            raise InputError("refused")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "begun"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"schema_version": 2, "roadslim_version": "9.9"}',
            "expected schema_version 1, found 2, .* Roadslim 9.9. Go on",
        ),
        ('{"schema_version": 1, "inputs": {}}', "expected 'settings', found schema_version, inputs. Make the stage"),
        ("[]", "expected schema_version 1, found None"),
        ("{", "expected JSON in"),
    ],
)
def test_a_stage_of_another_version_is_told_and_left_alone(tmp_path: Path, text: str, words: str) -> None:
    """The version that can go on with it, and the way to make it again; the new stage then takes its place."""
    folder = StageFolder(tmp_path, "train")
    folder.path.mkdir()
    (folder.path / "stage.json").write_text(text)
    with pytest.raises(InputError, match=words + ".*--fresh train"):
        folder.is_finished(KEY)
    assert (folder.path / "stage.json").read_text() == text
    finish(folder, KEY, "one")
    assert folder.is_finished(KEY)


def test_what_changed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By dotted name, of a finished stage and of one that was killed."""
    folder, other = StageFolder(tmp_path, "train"), StageKey(KEY.inputs, {"epochs": 4, "version": 2})
    assert other.changes(KEY.document()) == ["settings.epochs", "settings.version"]
    assert not KEY.changes(KEY.document())
    finish(folder, KEY, "one")
    (folder.begin(KEY) / "checkpoint.pt").write_text("state")
    caplog.set_level("INFO")
    folder.discard_attempt(KEY)
    folder.is_finished(other)
    assert caplog.messages == [
        "train: changed since it was finished: settings.epochs, settings.version; so it runs again"
    ]
    (folder.begin(KEY) / "checkpoint.pt").write_text("state")
    folder.begin(other)
    assert "train: changed since it was stopped: settings.epochs, settings.version" in caplog.messages[-1]
