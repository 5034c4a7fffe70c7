"""The M0 image made ready: relaxation over the repetition time, smoothing, scale, or one value from a tissue."""

from __future__ import annotations

import math

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image

# Alsop et al. 2015: no correction for relaxation from this repetition time on.
FULLY_RELAXED_S = 5.0
# Tissue T1 at 3 T, s (Lu et al. 2005, JMRI 22:13), and blood-tissue water ratio λ of each tissue, ml/g (Herscovitch
# and Raichle 1985, JCBFM 5:65); CSF: Chalela et al. 2000, Stroke 31:680, λ as 1.15 after Donahue et al. 2006.
TISSUE_T1_S = {"GM": 1.3, "WM": 0.83, "CSF": 4.3}
PARTITION_ML_PER_G = {"GM": 0.98, "WM": 0.82, "CSF": 1.15}
# T2* and T2 of tissue and blood at 3 T, s: the values that FSL's asl_calib assumes.
DECAY_TIME_S = {
    "t2star": {"GM": 0.06, "WM": 0.05, "CSF": 0.4, "blood": 0.05},
    "t2": {"GM": 0.1, "WM": 0.05, "CSF": 0.75, "blood": 0.15},
}
# Voxels of a reference tissue hold at least this fraction of it.
REFERENCE_FRACTION = 0.9
LEAST_REFERENCE_VOXELS = 20


def relaxation_factor(repetition_time_s: float | None, t1_s: float) -> float:
    """What a saturated M0 image has to be multiplied with: 1 / (1 − exp(−TR/T1)); 1 from TR = 5 s on.

    Args:
        repetition_time_s: of the M0 image; None where the M0 is not an image.
        t1_s: T1 of the tissue, s.

    Source: Alsop et al. 2015, MRM 73:102.
    """
    if repetition_time_s is None or repetition_time_s >= FULLY_RELAXED_S:
        return 1.0
    return 1 / (1 - math.exp(-repetition_time_s / t1_s))


def decay_factor(echo_time_s: float | None, tissue: str, decay: str) -> float:
    """What turns the echo of a reference tissue into that of as much blood: e^(TE/T2 tissue) / e^(TE/T2 blood).

    Args:
        echo_time_s: echo time of the M0 image, s.
        tissue: ``GM``, ``WM`` or ``CSF``.
        decay: ``t2star``, ``t2`` or ``none``.

    Raises:
        DataError: the echo time is not known.

    Source: Cavusoglu et al. 2009, Magn Reson Imaging 27:1039.
    """
    if decay == "none":
        return 1.0
    if echo_time_s is None:
        raise DataError(
            "The reference-tissue calibration needs the echo time of the ASL series",
            found="no EchoTime in the sidecar",
            remedy="add it, or set asl.calibration.readout_decay: none",
        )
    times = DECAY_TIME_S[decay]
    return math.exp(echo_time_s / times[tissue] - echo_time_s / times["blood"])


def smooth_in_mask(image: Image, mask: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Gaussian smoothing that neither takes from nor gives to voxels outside the mask.

    Args:
        image: (x, y, z).
        mask: where values count.
        fwhm_mm: full width at half maximum, mm; 0 for none.
    """
    from scipy.ndimage import gaussian_filter

    if fwhm_mm == 0:
        return image.data
    sigma = fwhm_mm / 2.3548 / image.voxel_size_mm
    weight = gaussian_filter(mask.astype(np.float32), sigma)
    smooth = gaussian_filter(image.data * mask, sigma) / np.maximum(weight, 1e-6)
    return np.where(mask, smooth, image.data)


def calibrate_m0(
    m0: Image,
    mask: np.ndarray,
    tissues: dict[str, np.ndarray],
    settings: dict,
    repetition_time_s: float | None,
    echo_time_s: float | None = None,
) -> tuple[np.ndarray, float]:
    """The equilibrium magnetisation that difference images are divided by, and the λ that belongs to it.

    Args:
        m0: M0 image on the ASL grid.
        mask: brain.
        tissues: fractions of GM, WM and CSF on the same grid.
        settings: block ``asl.calibration``.
        repetition_time_s: of the M0 image, or None.
        echo_time_s: of the series, or None where it is not known (only a reference tissue needs it).

    Returns:
        M0 (x, y, z) in the units of the series, and the blood-brain partition coefficient, ml/g.

    Raises:
        DataError: a reference tissue is not found.
    """
    scaled = m0.data * settings["m0_scale"]
    if settings["method"] == "voxelwise":
        factor = relaxation_factor(repetition_time_s, settings["tissue_t1_s"])
        smooth = smooth_in_mask(Image(scaled, m0.affine), mask, settings["smoothing_fwhm_mm"])
        return (smooth * factor).astype(np.float32), settings["partition_coefficient_ml_per_g"]
    tissue = settings["method"].upper()
    value = reference_value(scaled, mask, tissues[tissue], tissue)
    factor = relaxation_factor(repetition_time_s, TISSUE_T1_S[tissue])
    factor *= decay_factor(echo_time_s, tissue, settings["readout_decay"])
    return np.full(m0.data.shape, value * factor, dtype=np.float32), PARTITION_ML_PER_G[tissue]


def reference_value(m0: np.ndarray, mask: np.ndarray, fraction: np.ndarray, tissue: str) -> float:
    """Median M0 of a reference tissue.

    Raises:
        DataError: too few voxels hold that tissue alone.
    """
    pure = mask & (fraction >= REFERENCE_FRACTION)
    if pure.sum() < LEAST_REFERENCE_VOXELS:
        raise DataError(
            f"Too few voxels are pure {tissue} for the reference-tissue calibration",
            found=f"{int(pure.sum())} voxels", allowed=f"at least {LEAST_REFERENCE_VOXELS}",
            remedy="set asl.calibration.method: voxelwise",
        )  # fmt: skip
    return float(np.median(m0[pure]))
