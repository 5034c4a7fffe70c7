"""The sidecar of an ASL series or M0 image, read field by field: type, range, remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scan2map.errors import DataError
from scan2map.provenance import sidecar_path

# Longer than any delay or duration of a living protocol: the number is in milliseconds.
LONGEST_TIME_S = 10.0
LONGEST_REPETITION_S = 60.0
LONGEST_ECHO_S = 0.5
REMEDY = "correct the sidecar or the study map"


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number (``true`` and ``false`` are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class Sidecar:
    """A BIDS sidecar.

    Args:
        image: the image it belongs to.

    Raises:
        DataError: there is none.
    """

    def __init__(self, image):
        self.path = sidecar_path(image)
        if not self.path.exists():
            raise DataError("The image has no sidecar", file=self.path, remedy="convert the series again")
        self.content: dict[str, Any] = json.loads(self.path.read_text())

    def __contains__(self, name: str) -> bool:
        return self.content.get(name) is not None

    def fail(self, name: str, allowed: str, remedy: str = REMEDY) -> DataError:
        """The error for a field that cannot be used."""
        found = self.content.get(name, "nothing")
        return DataError(f"{name} cannot be used", file=self.path, found=found, allowed=allowed, remedy=remedy)

    def choice(self, name: str, options: Sequence[str]) -> str:
        """A word, in capitals, that is one of some."""
        value = str(self.content.get(name, "")).upper()
        if value not in options:
            raise self.fail(name, ", ".join(options))
        return value

    def flag(self, name: str, remedy: str = REMEDY) -> bool:
        """``true`` or ``false``."""
        value = self.content.get(name)
        if not isinstance(value, bool):
            raise self.fail(name, "true or false", remedy)
        return value

    def number(self, name: str, *, above: float = 0, most: float = float("inf")) -> float:
        """One number in a range; zero is outside unless ``above`` is negative."""
        value = self.content.get(name)
        if not is_number(value) or not above < value <= most:
            raise self.fail(name, f"a number above {above:g}" + (f", at most {most:g}" if most < 1e6 else ""))
        return float(value)

    def numbers(self, name: str) -> list[float]:
        """One number or a list of them."""
        value = self.content.get(name)
        values = value if isinstance(value, list) else [value]
        if not values or not all(map(is_number, values)):
            raise self.fail(name, "numbers, s")
        return [float(one) for one in values]

    def times(self, name: str, types: Sequence[str], needed: Sequence[str], longest: float) -> list[float]:
        """A time for each volume from one number or a list, s.

        Args:
            name: the field.
            types: type of each volume.
            needed: types whose time must be above zero.
            longest: longest credible time, s.

        Raises:
            DataError: another number of times than volumes, or one that is not credible.
        """
        values = self.numbers(name)
        values = values * len(types) if len(values) == 1 else values
        if len(values) != len(types):
            raise self.fail(name, f"one value, or one for each of the {len(types)} volumes")
        if not all(0 < time <= longest for time, kind in zip(values, types, strict=True) if kind in needed):
            raise self.fail(name, f"above 0 and at most {longest:g} s for every {', '.join(needed)} volume")
        return values
