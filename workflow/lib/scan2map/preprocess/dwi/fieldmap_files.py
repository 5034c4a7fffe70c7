"""From the b0 volumes of a session to its field map, corrected b0 images and figures of how well they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from scan2map.derivative_tables import read_frame, write_frame
from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.logs import LOGGER
from scan2map.preprocess.dwi.mask import otsu_mask
from scan2map.preprocess.dwi.phase_encoding import check_readout_time, group_acquisitions, is_opposed, phase_axis
from scan2map.preprocess.dwi.susceptibility import FieldEstimate, estimate_field
from scan2map.provenance import write_sidecar
from scan2map.quality.gates import check_map

ACQUISITION = ("phase_encoding", "total_readout_time_s")
NO_REVERSE = "no b0 volumes with opposed phase encoding: susceptibility distortion is NOT corrected"
SWITCHED_OFF = "fieldmap.engine is none: susceptibility distortion is NOT corrected"
EDGE_VOXELS = 2  # agreement is judged this far inside the brain
AGREEMENT_BLUR_VOXELS = 1.5  # FWHM: takes most noise out, so that what is left of the difference is distortion
MAX_MEDIAN_FIELD_HZ = 300.0  # a shimmed head is far below; beyond it the centre frequency or the readout time is wrong
LARGEST_LOSS = 0.02  # of correlation by the correction: well-shimmed images lose a little to interpolation

MOTION_COLUMNS = {
    **{
        f"trans_{axis}": {"Description": f"Translation of the head along world {axis}", "Units": "mm"} for axis in "xyz"
    },
    **{f"rot_{axis}": {"Description": f"Rotation of the head about world {axis}", "Units": "rad"} for axis in "xyz"},
}
METRIC_COLUMNS = {
    "reference": {"Description": "Phase encoding and total readout time (s) of the reference acquisition"},
    "acquisition": {"Description": "Phase encoding and total readout time (s) of the acquisition it is compared with"},
    **{
        f"{what}_{stage}": {"Description": f"{words}, {stage} the correction"}
        for what, words in {
            "correlation": "Pearson correlation of the two mean b0 images inside the brain",
            "smoothed_correlation": f"The same after smoothing both by {AGREEMENT_BLUR_VOXELS} voxels FWHM",
            "relative_difference": "Mean absolute difference over mean intensity inside the brain",
        }.items()
        for stage in ("before", "after")
    },
    "max_shift_voxels": {"Description": "Largest displacement by the field inside the brain", "Units": "voxels"},
    "median_field": {"Description": "Median field inside the brain", "Units": "Hz"},
}


@dataclass(frozen=True)
class Job:
    """What an engine gets: the b0 volumes (x, y, z, t), how they were encoded, and where and how to work."""

    image: Image
    directions: list[str]
    times: list[float]
    settings: dict
    output: Mapping[str, str]
    facts: dict  # arguments of write_sidecar for every result
    device: str
    threads: int

    @property
    def volumes(self) -> np.ndarray:
        """The volumes, (t, x, y, z)."""
        return np.moveaxis(self.image.data, -1, 0)


def read_acquisition(path, volumes: int) -> tuple[list[str], list[float]]:
    """Phase-encoding direction and total readout time (s) of each volume.

    Raises:
        DataError: missing columns, a wrong number of rows, or values that cannot be used.
    """
    table = read_frame(path, ACQUISITION)
    if len(table) != volumes:
        raise DataError(
            "The acquisition table does not fit its series", file=path, found=f"{len(table)} rows", allowed=volumes
        )
    directions = [str(direction) for direction in table.phase_encoding]
    for direction in directions:
        phase_axis(direction)
    return directions, [check_readout_time(time) for time in table.total_readout_time_s]


def uncorrected_estimate(volumes: np.ndarray, directions, readout_times_s) -> FieldEstimate:
    """A zero field and the images as they are."""
    groups = group_acquisitions(directions, readout_times_s)
    means = np.stack([volumes[groups == group].mean(0) for group in range(groups.max() + 1)])
    return FieldEstimate(
        field_hz=np.zeros(volumes.shape[1:], np.float32),
        motion=np.zeros((len(volumes), 6)),
        corrected=volumes,
        uncorrected_means=means,
        corrected_means=means,
        groups=groups,
        scales=np.ones(len(means)),
        residual_rms=(),
    )


def _write_estimate(estimate: FieldEstimate, job: Job, description: str, **fields) -> None:
    output, facts = job.output, job.facts | fields
    save_image(output["fieldmap"], estimate.field_hz, job.image.affine)
    write_sidecar(output["fieldmap"], description=description, units="Hz", **facts)
    stages = {"uncorrected": estimate.uncorrected_means, "corrected": estimate.corrected_means}
    for stage, means in stages.items():
        save_image(output[stage], np.moveaxis(means, 0, -1), job.image.affine)
        words = f"Mean b0 image of each phase-encoding direction, {stage}"
        write_sidecar(output[stage], description=words, units="arbitrary", **facts)
    frame = pd.DataFrame(estimate.motion, columns=list(MOTION_COLUMNS))
    words = "Head motion of each b0 volume from the position of the first one"
    write_frame(output["motion"], frame, MOTION_COLUMNS, description=words, **facts)


def _run_embedded(job: Job) -> None:
    settings = job.settings["fieldmap"]
    estimate = estimate_field(job.volumes, job.image.affine, job.directions, job.times, settings, job.device)
    words = "Off-resonance field of the head in the position of the first b0 volume"
    residuals = [round(rms, 6) for rms in estimate.residual_rms]
    _write_estimate(estimate, job, words, SusceptibilityCorrection="embedded", ResidualRms=residuals)


def _run_fsl(job: Job) -> None:
    from scan2map.preprocess.dwi.fsl import run_topup

    epi, acquisition = job.facts["sources"]
    options = {"output": job.output, "step": job.facts["step"], "threads": job.threads}
    run_topup(epi, acquisition, job.settings["fsl"], **options)


def _run_none(job: Job, reason: str = SWITCHED_OFF) -> None:
    LOGGER.warning(reason)
    estimate = uncorrected_estimate(job.volumes, job.directions, job.times)
    words = "No field: zero everywhere, the images are not corrected"
    _write_estimate(estimate, job, words, SusceptibilityCorrection="none", Reason=reason)


ENGINES = {"embedded": _run_embedded, "fsl": _run_fsl, "none": _run_none}


def _run_engine(job: Job) -> None:
    settings = job.settings["fieldmap"]
    if is_opposed(job.directions, job.times) or settings["engine"] == "none":
        ENGINES[settings["engine"]](job)
    elif settings["missing_reverse"] == "uncorrected":
        _run_none(job, NO_REVERSE)
    else:
        raise DataError(
            "The session has no b0 volumes with opposed phase encoding",
            file=job.facts["sources"][0],
            remedy="add the reversed b0 to fmap/, or set fieldmap.missing_reverse to uncorrected",
        )


def brain_interior(means: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Where agreement is judged: the brain of the mean corrected image without its edge.

    Args:
        means: corrected mean image of each acquisition, shape (x, y, z, n).
        affine: voxel-to-world affine.
    """
    mask = otsu_mask(Image(means.mean(-1), affine))
    interior = ndimage.binary_erosion(mask, iterations=EDGE_VOXELS)
    return interior if interior.any() else mask


def _agreement(pair: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Correlation, correlation after smoothing, and relative difference of two images (2, x, y, z)."""
    sigma = AGREEMENT_BLUR_VOXELS / (2 * np.sqrt(2 * np.log(2)))
    smooth = np.stack([ndimage.gaussian_filter(image, sigma) for image in pair])
    first, second = (image[inside].astype(float) for image in pair)
    return {
        "correlation": float(np.corrcoef(first, second)[0, 1]),
        "smoothed_correlation": float(np.corrcoef(smooth[:, inside].astype(float))[0, 1]),
        "relative_difference": float(2 * np.abs(first - second).mean() / (first + second).mean()),
    }


def agreement_table(uncorrected: Image, corrected: Image, field_hz: np.ndarray, directions, times) -> pd.DataFrame:
    """How alike the b0 images of each acquisition and of the first one are, before and after; one row per pair.

    Args:
        uncorrected: mean b0 of each acquisition (x, y, z, n), in order of appearance.
        corrected: the same, corrected.
        field_hz: the field.
        directions: phase encoding of each b0 volume.
        times: total readout time of each b0 volume, s.
    """
    inside = brain_interior(corrected.data, corrected.affine)
    groups = group_acquisitions(directions, times)
    firsts = [int(np.flatnonzero(groups == group)[0]) for group in range(groups.max() + 1)]
    names = [f"{directions[first]} {times[first]:.6g}" for first in firsts]
    field = field_hz[inside]
    rows = []
    for other in range(1, len(firsts)):
        before = _agreement(np.moveaxis(uncorrected.data[..., [0, other]], -1, 0), inside)
        after = _agreement(np.moveaxis(corrected.data[..., [0, other]], -1, 0), inside)
        row = {"reference": names[0], "acquisition": names[other]}
        row |= {f"{name}_before": value for name, value in before.items()}
        row |= {f"{name}_after": value for name, value in after.items()}
        longest = max(times[firsts[0]], times[firsts[other]])
        row |= {"max_shift_voxels": float(np.abs(field).max() * longest), "median_field": float(np.median(field))}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def check_field(table: pd.DataFrame, field_hz: np.ndarray, inside: np.ndarray, file) -> None:
    """Stop unless the field is plausible and the correction brought the images closer.

    Raises:
        DataError: the field is not finite, constant or too large, or the images agree less than before.
    """
    limits = (-MAX_MEDIAN_FIELD_HZ, MAX_MEDIAN_FIELD_HZ)
    check_map(field_hz, inside, name="The field map", unit="Hz", median_range=limits, file=file)
    for row in table.itertuples():
        before, after = row.smoothed_correlation_before, row.smoothed_correlation_after
        if not after > before - LARGEST_LOSS:
            raise DataError(
                f"The b0 images {row.reference} and {row.acquisition} agree less after correction than before",
                file=file,
                found=f"correlation {before:.3f} before, {after:.3f} after",
                allowed="a higher correlation",
                remedy="check PhaseEncodingDirection and TotalReadoutTime in the sidecars, and look at the b0 images",
            )


def estimate_field_files(
    epi, acquisition, settings: dict, *, output, step: str = "estimate_field", device: str = "cpu", threads: int = 1
) -> None:
    """Estimate the field map of a session and correct its b0 images, with the engine that the settings name.

    Args:
        epi: all b0 volumes of the session, (x, y, z, t); the first one is the reference position of the head.
        acquisition: table with one row per volume: ``phase_encoding``, ``total_readout_time_s``.
        settings: blocks ``fieldmap`` and ``fsl``.
        output: paths ``fieldmap`` (Hz), ``uncorrected`` and ``corrected`` (mean b0 of each acquisition), ``motion``,
            ``metrics``.
        step: rule that runs this.
        device: torch device.
        threads: threads it may use.

    Raises:
        DataError: the volumes cannot be used, or the result is not plausible.
        ToolError: FSL is asked for and missing.
    """
    import torch

    torch.set_num_threads(threads)
    loaded = load_image(epi)
    image = loaded if loaded.data.ndim == 4 else Image(loaded.data[..., None], loaded.affine)
    directions, times = read_acquisition(acquisition, image.data.shape[3])
    facts = {"step": step, "sources": [epi, acquisition], "settings": settings["fieldmap"]}
    _run_engine(Job(image, directions, times, settings, output, facts, device, threads))
    _judge(directions, times, output, facts)


def _judge(directions: list[str], times: list[float], output, facts: dict) -> None:
    uncorrected, corrected = load_image(output["uncorrected"]), load_image(output["corrected"])
    field = load_image(output["fieldmap"])
    table = agreement_table(uncorrected, corrected, field.data, directions, times)
    if field.data.any():
        check_field(table, field.data, brain_interior(corrected.data, corrected.affine), output["fieldmap"])
    for row in table.itertuples():
        LOGGER.info("%s: correlation %.3f -> %.3f", row.acquisition, row.correlation_before, row.correlation_after)
    words = "Agreement of opposed b0 images inside the brain, before and after susceptibility correction"
    write_frame(output["metrics"], table, METRIC_COLUMNS, description=words, **facts)
