"""Files of the rail that a learned system reads or writes, named by their BIDS parts. Light: the rules import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class RailFile:
    """A file of one session.

    Attributes:
        datatype: BIDS folder, ``perf``.
        suffix: last part of the name, ``cbf``.
        extension: with the leading dot.
        entities: further BIDS entities, ``{"desc": "preproc"}``.
        root: ``derivatives`` (made by the rail) or ``truth`` (of a simulated session).
    """

    datatype: str
    suffix: str
    extension: str = ".nii.gz"
    entities: Mapping[str, str] = field(default_factory=dict)
    root: Literal["derivatives", "truth"] = "derivatives"

    def path(self, derivative: Callable[..., str], root: str) -> str:
        """Its path in the result tree.

        Args:
            derivative: the workflow's function from entities to a path.
            root: folder of the data set.
        """
        return derivative(self.datatype, self.suffix, self.extension, root=root, **self.entities)


@dataclass(frozen=True)
class PredictedMap:
    """A map that prediction writes, and what a reader must know to judge it.

    Attributes:
        name: key in the dictionary that ``System.predict`` returns.
        datatype: BIDS folder.
        suffix: last part of the file name.
        entities: further BIDS entities.
        unit: unit of the values, BIDS style (``mL/100g/min``).
        label: axis label of its picture, with the displayed unit.
        description: one sentence for the sidecar.
        role: ``prediction``; ``baseline`` (a conventional estimate from the same input); ``uncertainty`` (standard
            deviation of a prediction, same unit); ``residual`` (what a prediction took away from its input); ``input``
            (what the prediction was made from); ``direction`` (direction colours, 3 volumes of 0 to 1: drawn, not
            scored); ``data`` (a further result, neither drawn nor scored).
        of: for all roles but ``prediction`` and ``data``, the name of the prediction that it belongs to.
        optional: whether a package may do without it though it has that prediction.
        name_shown: what its picture is called; the word for its role where it is empty (needed by two of one role).
        display: lowest and highest value of the picture in displayed units, the same for a prediction and its baseline.
        display_scale: displayed value over the file's value.
        colour_map: matplotlib name.
        truth: the file of a simulated session that it can be compared with.
    """

    name: str
    datatype: str
    suffix: str
    unit: str
    label: str
    description: str
    entities: Mapping[str, str] = field(default_factory=dict)
    role: Literal["prediction", "baseline", "uncertainty", "residual", "input", "direction", "data"] = "prediction"
    of: str = ""
    optional: bool = False
    name_shown: str = ""
    display: tuple[float, float] = (0.0, 1.0)
    display_scale: float = 1.0
    colour_map: str = "viridis"
    truth: RailFile | None = None
