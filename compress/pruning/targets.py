"""Upper limits of a network's costs, and one number for what several costs are worth together."""

from __future__ import annotations

from compress.pruning.costs import Costs, LayerTable
from compress.pruning.options import PruneOptions

_SPEED_WEIGHT = 6  # of work and of time, beside 1 of parameters: halved, a cut YOLOv3 has a tenth more work
Prices = tuple[float, float, float]  # of a parameter, a multiply-accumulate and a predicted millisecond


class Targets:
    """The targets of the options, for a network that costs `whole` before it is cut."""

    def __init__(self, options: PruneOptions, whole: Costs) -> None:
        self._limits = options.target_params, options.target_gmacs, options.target_ms
        self._whole = whole
        self._fast = options.prefer == "speed"

    @property
    def given(self) -> set[int]:
        """Which costs have a target: 0 parameters, 1 GMACs, 2 milliseconds."""
        return {index for index, limit in enumerate(self._limits) if limit is not None}

    def missed(self, costs: Costs) -> set[int]:
        """Which targets do not hold."""
        pairs = enumerate(zip(_as_given(costs), self._limits, strict=True))
        return {index for index, (cost, limit) in pairs if limit is not None and cost > limit}

    def hold(self, costs: Costs) -> bool:
        """Whether all do."""
        return not self.missed(costs)

    def fullness(self, costs: Costs) -> float:
        """The share of the tightest limit that is used; 1 where it is just met."""
        return max(cost / limit for cost, limit in zip(_as_given(costs), self._limits, strict=True) if limit)

    def prices(self, counted: set[int]) -> Prices:
        """What a share of the whole network's costs is worth: of those that are to be counted and, for speed, of time.

        Where parameters or work have a target, for speed multiply-accumulates count too, and as much as time: of the
        many cuts that reach it those are taken that make the network fast, on a CPU as well.
        """
        weights = tuple(float(index in counted) for index in range(3))
        if self._fast:
            weights = (weights[0], _SPEED_WEIGHT if self.given & {0, 1} else 0, _SPEED_WEIGHT)
        params, macs, ms = (weight / whole for weight, whole in zip(weights, self._whole, strict=True))
        return params, macs, ms


class Priced(dict[tuple[int, int], float]):
    """A layer's costs as one number, by (input channels, output channels)."""

    def __init__(self, table: LayerTable, prices: Prices) -> None:
        super().__init__()
        self._table, self._prices = table, prices

    def __missing__(self, channels: tuple[int, int]) -> float:
        params, macs, ms = self._table[channels]
        per_param, per_mac, per_ms = self._prices
        self[channels] = priced = params * per_param + macs * per_mac + ms * per_ms
        return priced


def _as_given(costs: Costs) -> tuple[float, float, float]:
    """In the units of the targets: parameters, GMACs, milliseconds."""
    return costs.params, costs.gmacs, costs.ms
