"""mAP of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from board_app.core.road_scenes import ROAD_CLASSES
from compress.training.cells import cells_of
from compress.training.evaluation import evaluate, plain_batches
from compress.training.loader import TrainingImages
from compress.training.targets import assign


@pytest.fixture
def held_out(samples) -> TrainingImages:
    """More pictures than go through at once."""
    return TrainingImages(samples * 2, (64, 96), None, seed=0)


def test_plain_batches_are_the_pictures_as_they_are(held_out: TrainingImages) -> None:
    """In the order asked for, in 0..1, each with its way back."""
    indices = [*range(5, 24), 2]
    found = list(plain_batches(held_out, indices))
    assert [len(ways) for _, ways in found] == [16, 4]
    pictures = torch.cat([batch for batch, _ in found])
    for position, index in enumerate(indices):
        pixels, way_back = held_out.letterboxed(index)
        np.testing.assert_allclose(pictures[position].permute(1, 2, 0).numpy(), pixels / 255, atol=1e-6)
        assert found[position // 16][1][position % 16] == way_back


def test_a_network_that_knows_the_labels_has_all_of_them(network, held_out: TrainingImages) -> None:
    """Raw heads that say what the labels say reach mAP50 1; those that are silent reach 0."""
    grids = ((4, 6), (8, 12))
    cells = cells_of(tuple(network.heads), grids, torch.device("cpu"))
    asked = iter(range(len(held_out)))

    def knowing(batch: torch.Tensor) -> list[torch.Tensor]:
        numbers = torch.full((len(batch), len(cells), 5 + network.heads[0].classes), -20.0)
        for picture in range(len(batch)):
            _, truths = held_out.item(next(asked))
            rows = torch.cat([torch.zeros(len(truths), 1), truths], 1)
            found = assign(rows, 1, network.heads, (64, 96))
            for cell, box, class_id in zip(found.cell, found.boxes_xyxy, found.class_id, strict=True):
                offset = ((box[:2] + box[2:]) / 2 / cells.stride[cell] - cells.corner[cell]).clamp(1e-6, 1 - 1e-6)
                numbers[picture, cell, :2] = torch.log(offset / (1 - offset))
                numbers[picture, cell, 2:4] = torch.log((box[2:] - box[:2]) / cells.anchor[cell])
                numbers[picture, cell, 4] = numbers[picture, cell, 5 + class_id] = 20.0
        parts = numbers.split([rows * columns * 3 for rows, columns in grids], 1)
        return [
            part.reshape(len(batch), rows, columns, -1).permute(0, 3, 1, 2)
            for part, (rows, columns) in zip(parts, grids, strict=True)
        ]

    assert evaluate(knowing, network.heads, held_out, ROAD_CLASSES).map50 > 0.99

    def silent(batch: torch.Tensor) -> list[torch.Tensor]:
        return [torch.full((len(batch), 3 * (5 + len(ROAD_CLASSES)), *grid), -20.0) for grid in grids]

    assert evaluate(silent, network.heads, held_out, ROAD_CLASSES).map50 == 0.0
