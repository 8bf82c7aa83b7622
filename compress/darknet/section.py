"""A network description as data: sections with their options, as a Darknet .cfg has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from board_app.core.errors import InputError

DARKNET_LEAKY_SLOPE = 0.1
HEAD_TYPES = ("yolo", "region")  # they decode the convolution before them
INPUT = -1  # stands for the network's input where a layer's index is asked for
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Section:
    """One [section] of a cfg: its type, its options as text in file order, and its line (not compared)."""

    type: str
    options: dict[str, str]
    line: int = field(default=0, compare=False)

    def integer(self, key: str, default: int | None = None, minimum: int | None = None) -> int:
        """The option as a whole number; without a default it is required."""
        if key not in self.options and default is not None:
            return default
        numbers = self._parsed(key, int)
        if len(numbers) != 1 or (minimum is not None and numbers[0] < minimum):
            raise self.error(f"a whole number{_limit(minimum)} for '{key}'", self._found(key), "Give one")
        return numbers[0]

    def integers(self, key: str, default: Iterable[int] | None = None, minimum: int | None = None) -> tuple[int, ...]:
        """The option as whole numbers separated by commas."""
        if key not in self.options and default is not None:
            return tuple(default)
        numbers = self._parsed(key, int)
        if not numbers or (minimum is not None and min(numbers) < minimum):
            expected = f"whole numbers{_limit(minimum)} for '{key}'"
            raise self.error(expected, self._found(key), "Give them, separated by commas")
        return numbers

    def number(self, key: str, default: float) -> float:
        """The option as one number."""
        if key not in self.options:
            return default
        numbers = self._parsed(key, float)
        if len(numbers) != 1 or not math.isfinite(numbers[0]):
            raise self.error(f"one number for '{key}'", self._found(key), "Give one")
        return numbers[0]

    def floats(self, key: str, default: Iterable[float] | None = None) -> tuple[float, ...]:
        """The option as numbers separated by commas."""
        if key not in self.options and default is not None:
            return tuple(default)
        numbers = self._parsed(key, float)
        if not numbers or not all(map(math.isfinite, numbers)):
            raise self.error(f"numbers for '{key}'", self._found(key), "Give them, separated by commas")
        return numbers

    def with_options(self, **changed: object) -> Section:
        """A copy with some options set, in place where they exist."""
        return replace(self, options={**self.options, **{key: str(value) for key, value in changed.items()}})

    def error(self, expected: str, found: str, remedy: str) -> InputError:
        """An error at this section; `parse_cfg` and `layer_shapes` add the file's name."""
        return InputError(f"line {self.line}, [{self.type}]: expected {expected}, found {found}. {remedy}.")

    def _parsed(self, key: str, convert: Callable[[str], Number]) -> tuple[Number, ...]:
        """What stands between the option's commas; none where the option is missing or a part is no number."""
        try:
            return tuple(convert(part) for part in self.options.get(key, "").split(",") if part)
        except ValueError:
            return ()

    def _found(self, key: str) -> str:
        return f"'{self.options[key]}'" if key in self.options else "none"


def _limit(minimum: int | None) -> str:
    return "" if minimum is None else f" of at least {minimum}"


@dataclass(frozen=True)
class Cfg:
    """A network description: the [net] section and the layers after it, which are counted from 0."""

    net: Section
    layers: tuple[Section, ...]
    name: str

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.net.integer("height", minimum=1), self.net.integer("width", minimum=1)

    @property
    def input_channels(self) -> int:
        """Channels of the input, 3 unless the cfg says otherwise."""
        return self.net.integer("channels", 3, minimum=1)

    @property
    def leaky_slope(self) -> float:
        """LeakyReLU's slope below zero: Darknet's 0.1, or `leaky_slope` in [net], a key of our own."""
        return self.net.number("leaky_slope", DARKNET_LEAKY_SLOPE)

    @property
    def bn_epsilon(self) -> float | None:
        """What batch normalisation adds to variances: `bn_epsilon` in [net], a key of our own; None if it is silent."""
        return self.net.number("bn_epsilon", 0.0) if "bn_epsilon" in self.net.options else None

    @property
    def classes(self) -> int:
        """Classes of the first head section.

        Raises:
            InputError: there is none.
        """
        for section in self.layers:
            if section.type in HEAD_TYPES:
                return section.integer("classes", 20, minimum=1)
        raise InputError(f"{self.name}: expected a [yolo] or [region], found none. Name the cfg of a detector.")

    def with_input_hw(self, input_hw: tuple[int, int]) -> Cfg:
        """A copy for another input size in pixels."""
        return replace(self, net=self.net.with_options(height=input_hw[0], width=input_hw[1]))
