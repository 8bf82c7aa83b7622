"""From a float network and calibration batches to the int8 network: pytorch_nndct 3.5.0's post-training way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from board_app.core.errors import InputError
from compress.darknet.dpu_hindrances import warn_of_hindrances
from compress.darknet.fold import folded_parameters
from compress.darknet.network import DarknetNetwork
from compress.quantization.activation_equalization import balance_activations
from compress.quantization.calibration import Calibration
from compress.quantization.equalization import FoldedParameters, equalize
from compress.quantization.fix_points import limit_shifts
from compress.quantization.output_search import choose_by_outputs, heads_noise
from compress.quantization.plan import Plan, plan_of
from compress.quantization.progress import share_bar
from compress.quantization.quantized_network import QuantizedNetwork
from compress.quantization.signal_to_noise import decibels
from compress.quantization.simulation import Parameters

log = logging.getLogger(__name__)


CalibrationTarget = Literal["tensor", "outputs"]
Equalization = Literal["nndct", "activations", "off"]
STRENGTHS = (0.25, 0.5, 0.75)  # of the equalisation by activations; the one whose heads are nearest is taken


def quantize(
    network: DarknetNetwork,
    calibration: Iterable[Tensor],
    bias_correction: bool = True,
    calibration_target: CalibrationTarget = "tensor",
    equalization: Equalization = "nndct",
) -> QuantizedNetwork:
    """The network in int8, by power-of-two fix points that are searched on the calibration batches.

    Any LeakyReLU slope becomes 26/256, the DPU's. The float network is not changed.

    Args:
        network: trained, in evaluation mode or not (its running BN statistics are used).
        calibration: batches (N, 3, H, W) float32, RGB / 255, taken in once, in order; each gives every activation
            one vote on its fix point. A handful of batches is enough, fewer than five is little.
        bias_correction: move the biases against the mean rounding error during calibration.
        calibration_target: "tensor" gives every tensor the fix point of its own least squared error, as nndct does;
            "outputs" starts there and goes on to those with which the heads are nearest to the float network's. It
            keeps the batches in memory and takes minutes.
        equalization: "nndct" scales channels along ReLU chains by their weights, as nndct does; "activations" also
            tries scales by the ranges of activations, across leaky convolutions and shortcuts, and takes what brings
            the heads nearest to the float network's on these batches, which stay in memory; "off" scales nothing.
    Raises:
        InputError: no batch, a batch that is none of images for this network, numbers that are not finite, or a
            layer that the DPU does not have.
    """
    plan = plan_of(network.cfg, tuple(head.layer for head in network.heads))
    warn_of_hindrances(network.cfg)
    folded = float_parameters(plan, network)
    images: Iterable[Tensor] = _CheckedBatches(calibration, plan)
    if calibration_target == "outputs" or equalization == "activations":
        images = list(images)
    plain = folded if equalization == "off" else equalize(plan, folded)
    quantized, rounded = _calibrate(network.cfg.name, plan, plain, images, bias_correction)
    if equalization == "activations":
        quantized, rounded = _balanced(quantized, rounded, folded, list(images), bias_correction)
    return quantized if calibration_target == "tensor" else _nearest_outputs(quantized, rounded, list(images))


def _balanced(
    quantized: QuantizedNetwork,
    rounded: Parameters,
    folded: FoldedParameters,
    batches: list[Tensor],
    bias_correction: bool,
) -> tuple[QuantizedNetwork, Parameters]:
    """Of this network and of those equalised by activations the one whose heads are nearest to the float network's."""
    plan, start = quantized.plan, heads_noise(quantized, batches)
    least = start
    for strength in STRENGTHS:
        parameters = balance_activations(plan, folded, batches, strength)
        found, used = _calibrate(quantized.name, plan, parameters, batches, bias_correction)
        noise = heads_noise(found, batches)
        if noise < least:
            quantized, rounded, least = found, used, noise
    before, after = decibels(start), decibels(least)
    if before is not None and after is not None:
        log.info("equalised by activations: the heads are %.2f dB nearer to the float network's", after - before)
    return quantized, rounded


def _calibrate(
    name: str, plan: Plan, parameters: FoldedParameters, batches: Iterable[Tensor], bias_correction: bool
) -> tuple[QuantizedNetwork, Parameters]:
    """nndct's way: the int8 network, and the parameters with corrected biases that were rounded in it."""
    run = Calibration(plan, parameters, bias_correction)
    taken = 0
    for batch in batches:
        run.forward(batch)
        taken += 1
    if not taken:
        raise InputError("calibration: expected at least one batch of images, found none. Give some training images.")
    corrections = run.bias_corrections()
    used = {
        index: (weight, bias - corrections[index] if index in corrections else bias)
        for index, (weight, bias) in parameters.items()
    }
    history = {plan.nodes[index].layer: found for index, found in run.history.items()}
    return QuantizedNetwork(name, plan, limit_shifts(plan, run.fix_points()), used, history, parameters), used


def _nearest_outputs(quantized: QuantizedNetwork, parameters: Parameters, batches: list[Tensor]) -> QuantizedNetwork:
    """The network with fix points chosen by its outputs."""
    with share_bar("choosing fix points by the outputs") as progress:
        choice = choose_by_outputs(quantized, parameters, batches, progress)
    log.info("fix points chosen by the outputs: the heads are %.2f dB nearer to the float network's", choice.gain_db)
    better = QuantizedNetwork(
        quantized.name,
        quantized.plan,
        choice.fix_points,
        parameters,
        quantized.history,
        quantized.float_parameters,
    )
    better.heads_gain_db = choice.gain_db
    return better


class _CheckedBatches:
    """The batches as float32 on the CPU, one after the other."""

    def __init__(self, batches: Iterable[Tensor], plan: Plan) -> None:
        self._batches, self._plan = batches, plan

    def __iter__(self) -> Iterator[Tensor]:
        """Raises InputError: one is no batch of finite images for the network."""
        for number, batch in enumerate(self._batches, start=1):
            yield _checked(batch, self._plan, f"calibration batch {number}")


def _checked(batch: Tensor, plan: Plan, name: str) -> Tensor:
    """The batch as float32 on the CPU, or InputError where it is no batch of finite images for the network."""
    channels, height, width = plan.nodes[0].shape
    if (
        batch.ndim != 4
        or not len(batch)
        or tuple(batch.shape[1:]) != plan.nodes[0].shape
        or not batch.is_floating_point()
    ):
        raise InputError(
            f"{name}: expected float images (N, {channels}, {height}, {width}), RGB / 255, found {batch.dtype} "
            f"{tuple(batch.shape)}. Resize the images and divide their pixels by 255."
        )
    batch = batch.detach().to("cpu", torch.float32)
    finite = torch.isfinite(batch).flatten(1).all(dim=1)
    if not bool(finite.all()):
        image = int((~finite).nonzero()[0])
        raise InputError(
            f"{name}, image {image + 1} of {len(batch)}: expected finite numbers, found NaN or infinity in the input. "
            "Mend or leave out this image."
        )
    return batch


def float_parameters(plan: Plan, network: DarknetNetwork) -> FoldedParameters:
    """Weight OIHW and bias, BN folded in, float32 on the CPU, by index of the convolution's node.

    Raises:
        InputError: a parameter is not finite, with its layer.
    """
    parameters: FoldedParameters = {}
    for node in plan.convolutions:
        parameters[node.index] = folded_parameters(network.get_submodule(f"layers.{node.layer}"))
        if not all(bool(torch.isfinite(values).all()) for values in parameters[node.index]):
            section = network.cfg.layers[node.layer]
            raise InputError(
                f"{network.cfg.name}: expected finite weights, found infinity or NaN in layer {node.layer} "
                f"([{section.type}], line {section.line}) after folding its batch normalisation. "
                "The weights are damaged or their training diverged: use an earlier checkpoint."
            )
    return parameters
