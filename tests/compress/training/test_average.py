"""The averaged network."""

from __future__ import annotations

import pytest
import torch

from compress.config import AugmentConfig
from compress.training.average import AveragedNetwork
from compress.training.loader import TrainingImages


def test_the_average_follows_each_parameter(network) -> None:
    """Equal to the recurrence written out, for a parameter that moves by one a step."""
    average = AveragedNetwork(network, 5)
    weight = network.layers[0].conv.weight
    mean, value = average.network.layers[0].conv.weight.clone(), weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            weight += 1
        value += 1
        average.update(step)
        keep = min(1 - 1 / 5, (step + 1) / (step + 10))
        mean = keep * mean + (1 - keep) * value
    torch.testing.assert_close(average.network.layers[0].conv.weight, mean)


@pytest.mark.parametrize("augment", [None, AugmentConfig(brightness=0.9, mosaic=0.5)])
def test_statistics_are_those_of_the_training_pictures(
    network, images: TrainingImages, augment: AugmentConfig | None
) -> None:
    """The first layer's mean over the pictures as the training varies them; evaluation mode stays."""
    images = TrainingImages(images.samples, images.input_hw, augment, 3)
    average = AveragedNetwork(network, 5)
    average.settle(images, torch.device("cpu"))
    pictures = torch.stack([images.item(index, 0)[0] for index in range(len(images))]) / 255
    with torch.no_grad():
        expected = network.layers[0].conv(pictures).mean((0, 2, 3))
    torch.testing.assert_close(average.network.layers[0].bn.running_mean, expected, atol=1e-4, rtol=1e-3)
    assert not average.network.training and not average.network.layers[0].bn.training
