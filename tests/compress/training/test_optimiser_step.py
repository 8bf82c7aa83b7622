"""One optimiser step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from board_app.core.errors import UsageError
from compress.config import TrainingConfig
from compress.training.batch import Batch, StepHook
from compress.training.loader import TrainingImages, load_batches
from compress.training.loss import yolo_loss
from compress.training.optimiser_step import NotFinite, OptimiserStep
from compress.training.targets import assign

CPU = torch.device("cpu")


class Brightness(StepHook):
    """A term that is a mean over the pictures."""

    def extra_loss(self, batch: Batch, raw_heads) -> dict[str, Tensor]:
        return {"brightness": 10 * (batch.images.mean((1, 2, 3)) * raw_heads[0].square().mean((1, 2, 3))).mean()}


class Gradients(Brightness):
    """Keeps the gradients of a step as they are used."""

    def __init__(self, network) -> None:
        self._network = network

    def before_step(self, step: int) -> None:
        self.kept = [parameter.grad.clone() for parameter in self._network.parameters()]


@pytest.mark.parametrize("cut", [[8], [4, 4], [2, 2, 2, 2], [4, 2, 2]])
def test_gradients_do_not_depend_on_the_cut(network, images: TrainingImages, cut: list[int]) -> None:
    """Of the loss and of a hook's term, to the rounding of sums; every term's value neither."""
    found = []
    for parts in ([8], cut):
        copied = copy.deepcopy(network).train()
        hook = Gradients(copied)
        step = OptimiserStep(copied, TrainingConfig(statistics_batch=2), hook, CPU)
        ends = torch.tensor(parts).cumsum(0).tolist()
        indices = [list(range(end - size, end)) for end, size in zip(ends, parts, strict=True)]
        terms = step.take(list(load_batches(images, 0, indices)), 8, 0, 0.001)
        found.append((hook.kept, terms))
    (whole, terms), (parts_of_it, terms_of_parts) = found
    assert list(terms) == ["loss", "box", "objectness", "classes", "brightness"]
    for name, value in terms.items():
        torch.testing.assert_close(terms_of_parts[name], value, rtol=1e-5, atol=1e-6, msg=name)
    size = torch.stack([gradient.norm() for gradient in whole]).norm()
    for mine, theirs in zip(parts_of_it, whole, strict=True):
        assert float((mine - theirs).norm()) < 1e-5 * float(size)


def test_a_step_is_adamws(network, images: TrainingImages) -> None:
    """Parameters after two steps equal those of a loop written out with torch's plain AdamW, decay on kernels alone."""
    config = TrainingConfig(weight_decay=0.1)
    mine, theirs = (copy.deepcopy(network).train().to(memory_format=torch.channels_last) for _ in range(2))
    step = OptimiserStep(mine, config, StepHook(), CPU)
    kernels = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim == 1]
    plain = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}], lr=0.01
    )
    for number, loaded in enumerate(load_batches(images, 0, [[0, 1, 2, 3], [4, 5, 6, 7]])):
        step.take([loaded], 4, number, 0.01)
        batch = loaded.on(CPU)
        targets = assign(batch.truths, 4, theirs.heads, batch.size_hw)
        plain.zero_grad()
        yolo_loss(theirs(batch.images), theirs.heads, targets).total.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
        plain.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_half_precision_trains_and_the_loss_is_near(network, images: TrainingImages) -> None:
    """In bfloat16 on the CPU: the loss within a few percent, parameters still float32."""
    losses = []
    for precision in ("float32", "bf16"):
        copied = copy.deepcopy(network).train()
        step = OptimiserStep(copied, TrainingConfig(precision=precision), StepHook(), CPU)
        losses.append(float(step.take(list(load_batches(images, 0, [[0, 1, 2, 3]])), 4, 0, 0.001)["loss"]))
        assert {parameter.dtype for parameter in copied.parameters()} == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=0.05) and losses[0] != losses[1]


def test_fp16_wants_a_gpu(network) -> None:
    """On a CPU it is refused at once, with what to take instead."""
    with pytest.raises(UsageError, match="fp16: expected a GPU.*bf16"):
        OptimiserStep(network, TrainingConfig(precision="fp16"), StepHook(), CPU)


class Poison(StepHook):
    """A term that is 0 or no number, and whose gradient is none."""

    def __init__(self, value: float) -> None:
        self._value = value

    def extra_loss(self, batch: Batch, raw_heads) -> dict[str, Tensor]:
        return {"poison": self._value * (0 * raw_heads[0].sum()).sqrt()}


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "loss, found nan"), (1.0, "gradient, found one of length nan")]
)
def test_a_step_that_is_no_number_is_not_taken(network, images: TrainingImages, value: float, words: str) -> None:
    """A loss that is none, or a good one whose gradient is none: every parameter is as it was before."""
    before = copy.deepcopy(dict(network.named_parameters()))
    step = OptimiserStep(network.train(), TrainingConfig(), Poison(value), CPU)
    with pytest.raises(NotFinite, match=words):
        step.take(list(load_batches(images, 0, [[0, 1]])), 2, 0, 0.001)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]), name
