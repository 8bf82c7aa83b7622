"""Distillation."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from board_app.core.road_scenes import ROAD_CLASSES
from compress.config import DistillConfig
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, prune
from compress.training.batch import Batch
from compress.training.distillation import Distillation
from compress.training.loader import TrainingImages
from compress.training.trainer import Training

TERMS = ["teacher_objectness", "teacher_classes", "teacher_boxes", "teacher_features"]
CONFIG = DistillConfig()


def batch(count: int = 4) -> Batch:
    images = torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.zeros(0, 6), torch.arange(count))


def part(whole: Batch, first: int, last: int) -> Batch:
    return replace(whole, images=whole.images[first:last], indices=whole.indices[first:last])


def loud(network: DarknetNetwork) -> DarknetNetwork:
    """A teacher that is sure of some cells."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for head in network.heads:
            conv = network.convolution(head.layer).conv
            conv.weight += 0.5 * torch.randn(conv.weight.shape, generator=generator)
    return network.eval()


def test_a_student_that_equals_its_teacher_pays_nothing(network) -> None:
    """Every term is 0 up to the rounding of the folded teacher."""
    hook = Distillation(loud(network), network, CONFIG)
    hook.begin(1)
    with torch.no_grad():
        terms = hook.extra_loss(batch(), network(batch().images))
    assert list(terms) == TERMS
    for value in terms.values():
        assert float(value) == pytest.approx(0.0, abs=1e-4)


def test_another_student_pays_in_every_term_and_alone_learns(network) -> None:
    """The terms are positive, the student gets gradients through each, the teacher none."""
    teacher = loud(copy.deepcopy(network))
    hook = Distillation(network.train(), teacher, CONFIG)
    hook.begin(1)
    terms = hook.extra_loss(batch(), network(batch().images))
    for name in TERMS:
        assert float(terms[name].detach()) > 1e-3
        network.zero_grad()
        terms[name].backward(retain_graph=True)
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters()), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_computes_in_the_precision_of_the_training(network) -> None:
    """In bf16 a student that equals its teacher pays a little for the rounding."""
    loud(network)
    paid = {}
    for precision in ("float32", "bf16"):
        student = copy.deepcopy(network)
        hook = Distillation(student, network, CONFIG.model_copy(update={"precision": precision}))
        hook.begin(1)
        with torch.no_grad():
            paid[precision] = sum(map(float, hook.extra_loss(batch(), student(batch().images)).values()))
    assert paid["bf16"] > 10 * abs(paid["float32"])


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_scales_its_term_and_0_leaves_it_out(network, name: str) -> None:
    """Twice the weight, twice the term; the others stay."""
    teacher = loud(copy.deepcopy(network))
    network.eval()

    def terms(weight: float) -> dict[str, torch.Tensor]:
        student = copy.deepcopy(network)
        hook = Distillation(student, teacher, CONFIG.model_copy(update={name: weight}))
        hook.begin(1)
        with torch.no_grad():
            return hook.extra_loss(batch(), student(batch().images))

    none, one, two = terms(0.0), terms(1.0), terms(2.0)
    assert name not in none
    torch.testing.assert_close(two, one | {name: 2 * one[name]})


def test_the_terms_do_not_depend_on_how_a_batch_is_cut(network) -> None:
    """Parts weighted by their pictures add up to the whole, in every term."""
    hook = Distillation(network.eval(), loud(copy.deepcopy(network)), CONFIG)
    hook.begin(1)
    whole = batch(5)
    with torch.no_grad():
        expected = hook.extra_loss(whole, network(whole.images))
        parts = [part(whole, 0, 2), part(whole, 2, 5)]
        terms = [hook.extra_loss(some, network(some.images)) for some in parts]
    for name, value in expected.items():
        torch.testing.assert_close(terms[0][name] * 2 / 5 + terms[1][name] * 3 / 5, value)


def test_a_pruned_student_learns_from_any_wider_teacher(network) -> None:
    """Attention maps need no matching channels: a pruned network has all four terms."""
    student = prune(network, PruneOptions(channels=0.5, blocks=1)).network
    hook = Distillation(student, loud(network), CONFIG)
    hook.begin(1)
    assert list(hook.extra_loss(batch(), student(batch().images))) == TERMS


def test_every_term_is_in_the_metrics_and_falls(network, images, tmp_path: Path) -> None:
    """Six epochs bring a student with other heads nearer to its teacher; the log says by which term."""
    teacher = loud(copy.deepcopy(network))
    config = DistillConfig(epochs=6, batch_size=4, learning_rate=0.003, evaluate_every=6)
    held_out = TrainingImages(images.samples[:4], images.input_hw, None, 0)
    hook = Distillation(network, teacher, config)
    _, history = Training(network, images, held_out, ROAD_CLASSES, config, tmp_path, hook).run()
    assert all(name in line for name in TERMS for line in history)
    assert sum(history[-1][name] for name in TERMS) < sum(history[0][name] for name in TERMS)
