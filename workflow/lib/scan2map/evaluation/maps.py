"""The maps that are evaluated: what they are called, where they lie, in which unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TISSUES = ("GM", "WM", "CSF")


@dataclass(frozen=True)
class QuantityMap:
    """One quantitative map of a session.

    Attributes:
        metric: name in the tables.
        modality: the modality that makes it.
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


def _tensor_map(metric: str, unit: str) -> QuantityMap:
    return QuantityMap(metric, "dwi", "dwi", unit, "dwi", "dwimap", (("model", "DTI"), ("param", metric)))


MAPS = (
    _tensor_map("FA", "1"),
    _tensor_map("MD", "mm2/s"),
    _tensor_map("AD", "mm2/s"),
    _tensor_map("RD", "mm2/s"),
    QuantityMap("CBF", "asl", "asl", "ml/100g/min", "perf", "cbf"),
)


def space_files(
    derivative: Callable[..., str], datatype: str, space: str, atlases: tuple[str, ...] = ()
) -> dict[str, str]:
    """Mask and tissue maps of one grid, keyed ``<space>_<what>``; for atlases also the transform to the T1w image."""
    files = {f"{space}_mask": derivative(datatype, "mask", desc="brain")}
    for tissue in TISSUES:
        files[f"{space}_{tissue}"] = derivative(datatype, "probseg", space=space, label=tissue)
    if atlases:
        transform = {"from": space, "to": "T1w", "mode": "image"}
        files[f"{space}_to_T1w"] = derivative(datatype, "xfm", ".mat", **transform)
    return files


def roi_files(
    derivative: Callable[..., str], runs: Callable[[str], bool], atlases: tuple[str, ...] = ()
) -> dict[str, str]:
    """Every file that the ROI table of a session reads.

    Args:
        derivative: the workflow's function from entities to a path.
        runs: whether the session runs a modality.
        atlases: atlas labels, on the T1w grid.
    """
    maps = [quantity for quantity in MAPS if runs(quantity.modality) and runs("anat")]
    files = {f"map_{quantity.metric}": quantity.path(derivative) for quantity in maps}
    for space, datatype in sorted({(quantity.space, quantity.datatype) for quantity in maps}):
        files |= space_files(derivative, datatype, space, atlases)
    for atlas in atlases if maps else ():
        files[f"atlas_{atlas}"] = derivative("anat", "dseg", space="T1w", seg=atlas)
    return files
