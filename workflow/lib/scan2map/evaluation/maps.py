"""The maps that are evaluated: what they are called, where they lie, in which unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scan2map.preprocess.asl.delay_outputs import ACQUISITION

TISSUES = ("GM", "WM", "CSF")
# Tensor scalars that are compared with a reference.
TENSOR_UNITS = {"FA": "1", "MD": "mm2/s"}


@dataclass(frozen=True)
class QuantityMap:
    """One quantitative map of a session.

    Attributes:
        metric: name in the tables.
        modality: the modality that makes it; ``multidelay`` is the joint fit of ASL series with several delays.
        space: label of its grid in derivative names (``dwi``, ``asl``).
        unit: unit of its values.
        datatype, suffix, entities: parts of its file name.
    """

    metric: str
    modality: str
    space: str
    unit: str
    datatype: str
    suffix: str
    entities: tuple[tuple[str, str], ...] = ()

    def path(self, derivative: Callable[..., str]) -> str:
        """File name through the workflow's ``derivative`` function."""
        return derivative(self.datatype, self.suffix, **dict(self.entities))


def _multidelay_map(metric: str, suffix: str, unit: str) -> QuantityMap:
    return QuantityMap(metric, "multidelay", "asl", unit, "perf", suffix, (("acq", ACQUISITION),))


def _tensor_map(metric: str, unit: str) -> QuantityMap:
    return QuantityMap(metric, "dwi", "dwi", unit, "dwi", "dwimap", (("model", "DTI"), ("param", metric)))


MAPS = (
    _tensor_map("FA", "1"),
    _tensor_map("MD", "mm2/s"),
    _tensor_map("AD", "mm2/s"),
    _tensor_map("RD", "mm2/s"),
    QuantityMap("CBF", "asl", "asl", "ml/100g/min", "perf", "cbf"),
    _multidelay_map("CBF_multidelay", "cbf", "ml/100g/min"),
    _multidelay_map("ATT", "att", "s"),
)
