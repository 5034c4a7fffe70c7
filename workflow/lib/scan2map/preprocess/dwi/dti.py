"""From the corrected diffusion series to checked tensor maps on disk."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.dwi.gradient_check import GradientCheck, check_gradients
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients
from scan2map.preprocess.dwi.tensor import TensorMaps, fit_tensor, tensor_volumes
from scan2map.provenance import write_sidecar
from scan2map.quality.gates import check_map

LOGGER = logging.getLogger("scan2map")


class MapKind(NamedTuple):
    """What a map is, its unit, and where its median over the brain must lie to be possible."""

    description: str
    unit: str
    median_range: tuple[float, float] | None = None


# Ranges hold for human brains at b = 500 to 3000 s/mm2 with their ventricles, children and oedema included.
KINDS = {
    "FA": MapKind("Fractional anisotropy", "1", (0.03, 0.7)),
    "MD": MapKind("Mean diffusivity", "mm2/s", (0.2e-3, 3.2e-3)),
    "AD": MapKind("Axial diffusivity, largest eigenvalue", "mm2/s", (0.2e-3, 4e-3)),
    "RD": MapKind("Radial diffusivity, mean of the two smaller eigenvalues", "mm2/s", (0.1e-3, 3.2e-3)),
    "S0": MapKind("Signal without diffusion weighting", "arbitrary"),
    "tensor": MapKind("Diffusion tensor Dxx, Dxy, Dxz, Dyy, Dyz, Dzz along world RAS axes", "mm2/s"),
    "direction": MapKind("Unit eigenvector of the largest eigenvalue along world RAS axes", "1"),
}
# A share of brain voxels with a negative eigenvalue above this means a wrong b-table or noise without signal.
MAX_NEGATIVE_SHARE = 0.25


def map_arrays(maps: TensorMaps) -> dict[str, np.ndarray]:
    """The seven maps that are written, zero outside the mask."""
    return {
        "FA": maps.fa,
        "MD": maps.md,
        "AD": maps.ad,
        "RD": maps.rd,
        "S0": maps.s0,
        "tensor": maps.tensor,
        "direction": maps.direction,
    }


def negative_share(tensor: np.ndarray, mask: np.ndarray) -> float:
    """Share of mask voxels whose tensor has a negative eigenvalue."""
    from scan2map.preprocess.dwi.tensor import FULL

    smallest = np.linalg.eigvalsh(tensor[mask][:, FULL].reshape(-1, 3, 3).astype(np.float64))[:, 0]
    return float((smallest < 0).mean())


def check_maps(maps: TensorMaps, mask: np.ndarray, file) -> float:
    """Plausibility of all maps.

    Returns:
        The share of voxels with a negative eigenvalue.

    Raises:
        DataError: a map is impossible, or too many eigenvalues are negative.
    """
    arrays = map_arrays(maps)
    for name, kind in KINDS.items():
        if kind.median_range:
            check_map(arrays[name], mask, name=name, unit=kind.unit, median_range=kind.median_range, file=file)
    share = negative_share(maps.tensor, mask)
    if share > MAX_NEGATIVE_SHARE:
        raise DataError(
            "The tensor has too many negative eigenvalues",
            file=file,
            found=f"{100 * share:.0f} % of the brain",
            allowed=f"at most {100 * MAX_NEGATIVE_SHARE:.0f} %",
            remedy="check the b-values and the brain mask",
        )
    return share


def require_gradients(check: GradientCheck, action: str, file) -> None:
    """Warn (``warn``) or stop (``stop``) when another axis order or sign of the b-vectors lines fibres up better.

    Raises:
        DataError: the check failed and the action is ``stop``.
    """
    if check.passed:
        return
    error = DataError(
        "The b-vectors seem to lie along wrong axes: fibres continue better with other signs or another axis order",
        file=file,
        found=f"coherence {check.coherence:.3f}; {check.best:.3f} with the voxel axes {check.best_order}",
        remedy="check the conversion of the gradient table, or set dwi.tensor.gradient_check to warn",
    )
    if action == "stop":
        raise error
    LOGGER.warning("%s", error)


def fit_series(
    image: Image, mask: np.ndarray, gradients: GradientTable, max_b_value: float, device: str = "cpu"
) -> tuple[TensorMaps, GradientTable]:
    """Fit the tensor to the volumes that the b-value limit chooses.

    Returns:
        The maps and the table of the volumes that were used.
    """
    used = tensor_volumes(gradients, max_b_value)
    table = gradients.take(used)
    data = image.data if used.all() else image.data[..., used]
    return fit_tensor(data, mask, table, image.affine, device), table


def fit_tensor_files(dwi, bval, bvec, mask, settings: dict, *, output: dict, device: str = "cpu") -> None:
    """Fit the diffusion tensor of a corrected series and write its maps.

    Args:
        dwi, bval, bvec: the corrected series with its rotated b-table.
        mask: brain mask on the same grid.
        settings: block ``dwi``.
        output: paths of the maps by the names of ``KINDS``.
        device: torch device.

    Raises:
        DataError: bad input, impossible maps, or b-vectors along wrong axes.
    """
    image, brain = load_image(dwi), load_image(mask)
    require_same_grid(image, brain, names=("the diffusion series", "its brain mask"))
    gradients = read_gradients(bval, bvec, image.data.shape[3], settings["b0_threshold_s_per_mm2"])
    inside = brain.data > 0
    maps, table = fit_series(image, inside, gradients, settings["tensor"]["max_b_value_s_per_mm2"], device)
    share = check_maps(maps, inside, dwi)
    check = check_gradients(maps.direction, maps.fa, maps.md, image.affine)
    require_gradients(check, settings["tensor"]["gradient_check"], bvec)
    facts = {
        "BValuesUsed": sorted({round(float(value)) for value in table.shells}),
        "VolumesUsed": len(table),
        "NegativeEigenvalueShare": share,
        "FibreCoherence": check.coherence,
        "FibreCoherenceOfBestOtherTable": check.best,
        "Sources": [str(dwi), str(bval), str(bvec), str(mask)],
    }
    _write_maps(maps, image.affine, settings, facts, output)


def _write_maps(maps: TensorMaps, affine: np.ndarray, settings: dict, facts: dict, output: dict) -> None:
    for name, values in map_arrays(maps).items():
        save_image(output[name], values, affine)
        write_sidecar(
            output[name],
            step="fit_tensor",
            description=f"{KINDS[name].description}; two-pass log-linear weighted least squares",
            settings=settings["tensor"],
            units=KINDS[name].unit,
            **facts,
        )
