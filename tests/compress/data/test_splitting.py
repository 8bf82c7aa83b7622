"""Splits by name and by scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from board_app.core.errors import InputError, UsageError
from compress.data.dataset import Dataset, Sample
from compress.data.splitting import images_to_divide, split_by_name, split_by_scene


def made(count: int, class_ids: list[list[int]] | None = None) -> Dataset:
    """A dataset of pictures that nobody opens, each with boxes of the given classes."""
    ids = class_ids or [[] for _ in range(count)]
    samples = [
        Sample(Path(f"{number}.jpg"), np.zeros((len(one), 4), np.float32), np.array(one, np.int32))
        for number, one in enumerate(ids)
    ]
    return Dataset("made", Path("."), ("D00", "D10"), tuple(samples))


def test_split_by_name_is_stable() -> None:
    """Shares come out about right, and images that come later move none of the earlier ones."""
    whole = made(200)
    parts = split_by_name(whole, 0.2, 0.1)
    assert 25 <= len(parts["val"]) <= 55 and 10 <= len(parts["test"]) <= 32
    assert sum(map(len, parts.values())) == 200
    fewer = split_by_name(replace(whole, samples=whole.samples[:50]), 0.2, 0.1)
    for name, part in fewer.items():
        assert {sample.image_path for sample in part.samples} <= {sample.image_path for sample in parts[name].samples}


def test_split_refusals() -> None:
    """Splits that exist are not split again, shares must leave some for train, and no part may be empty."""
    whole = made(1)
    with pytest.raises(UsageError, match="found train, val"):
        images_to_divide({"train": whole, "val": whole}, 0.2, 0)
    with pytest.raises(UsageError, match="shares"):
        images_to_divide({"all": whole}, 0.8, 0.3)
    with pytest.raises(InputError, match="none left of 1"):
        split_by_name(whole, 0.2, 0)


def test_splits_are_put_together_on_demand() -> None:
    """With `anew` all images are divided, one that is in two splits once."""
    whole = made(4)
    first, rest = replace(whole, samples=whole.samples[:2]), replace(whole, samples=whole.samples[1:])
    assert images_to_divide({"train": first, "val": rest}, 0.2, 0, anew=True) == whole


def test_scenes_stay_whole_and_classes_are_spread() -> None:
    """No scene is in two parts, the parts have about their shares of images and of both classes' boxes."""
    rng = np.random.default_rng(4)
    scenes = np.repeat(np.arange(60), rng.integers(1, 30, 60))
    rare = rng.random(60) < 0.2  # D10 is in a fifth of the scenes, and there in every picture
    whole = made(len(scenes), [[0, 1] if rare[scene] else [0] for scene in scenes])
    parts = split_by_scene(whole, scenes, 0.2, 0.1)
    assert list(parts) == ["train", "val", "test"] and sum(map(len, parts.values())) == len(scenes)
    of_scene = dict(zip((sample.image_path for sample in whole.samples), scenes, strict=True))
    seen = [{of_scene[sample.image_path] for sample in part.samples} for part in parts.values()]
    assert sum(map(len, seen)) == 60 == len(set.union(*seen))
    for part, share in zip(parts.values(), (0.7, 0.2, 0.1), strict=True):
        assert abs(len(part) / len(whole) - share) < 0.02
        counts = sum(np.count_nonzero(sample.class_id) for sample in part.samples)
        assert abs(counts / sum(rare[scenes]) - share) < 0.04


def test_a_class_of_one_scene_is_trained() -> None:
    """What is seen at one place only goes where a network can learn it."""
    scenes = np.repeat(np.arange(10), 4)
    whole = made(40, [[1] if scene == 7 else [0] for scene in scenes])
    parts = split_by_scene(whole, scenes, 0.2, 0)
    assert sum(1 in sample.class_id for sample in parts["train"].samples) == 4


def test_one_scene_cannot_be_split() -> None:
    """It stays whole, and the part that is left empty is told."""
    with pytest.raises(InputError, match="expected images for val, found none left of 5"):
        split_by_scene(made(5), np.zeros(5, int), 0.2, 0)
