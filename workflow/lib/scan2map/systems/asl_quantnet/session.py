"""A scanned session as the network's input: one ΔM/M0 image per delay, with how it was labelled; and its maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.physics.asl import PARTITION_COEFFICIENT_ML_PER_G
from scan2map.physics.asl_design import LABELLING, VELOCITY, LabelDesign, join_designs
from scan2map.preprocess.asl.calibration import calibrate_m0
from scan2map.preprocess.asl.coregister import TISSUES
from scan2map.preprocess.asl.difference import subtract
from scan2map.preprocess.asl.fit import FitOptions, fit_kinetic
from scan2map.preprocess.asl.metadata import load_labelling
from scan2map.preprocess.asl.multidelay import DelaySeries, design_of, select_by_delay
from scan2map.provenance import write_json, write_sidecar
from scan2map.systems.asl_quantnet.baselines import FIT_MODELS
from scan2map.systems.asl_quantnet.labelling import Labelling
from scan2map.systems.asl_quantnet.prediction import Prediction, predict_ensemble
from scan2map.systems.asl_quantnet.simulator import PCASL_PULSES, VSASL_PULSES

if TYPE_CHECKING:
    from scan2map.training.package import Package

STEP = "average_delays"
SLICES_AT_ONCE = 8
# Delay offsets of two series that differ by less in the mean over the brain come from one order of slices.
SAME_ORDER_S = 0.05


def average_delays(series: DelaySeries, m0: np.ndarray, tissues: Mapping, settings: Mapping, partition: float):
    """Mean ΔM/M0 of each delay of a series, delays ascending.

    Args:
        series: control and label, or difference, volumes.
        m0: calibrated M0 (x, y, z); the result is 0 where it is 0.
        tissues: fractions of GM, WM, CSF.
        settings: block ``asl``.
        partition: blood-brain partition coefficient, ml/g.

    Returns:
        Images (x, y, z, delays) and the :class:`LabelDesign` of them.
    """
    pairs = subtract(series.data, series.labelling, settings["subtraction"])
    used = select_by_delay(pairs, tissues, settings["skip_pairs"], settings["outliers"]) == "used"
    design = design_of(pairs, series.labelling, settings, partition)
    delays = np.unique(np.asarray(pairs.delays_s)[used])
    groups = [np.flatnonzero(used & np.isclose(pairs.delays_s, delay)) for delay in delays]
    images = np.stack([pairs.images[..., group].mean(-1) for group in groups], axis=-1)
    relative = np.divide(images, m0[..., None], out=np.zeros_like(images), where=m0[..., None] > 0)
    return relative, design.take([int(group[0]) for group in groups])


def _design_content(design: LabelDesign) -> dict[str, Any]:
    """A design as JSON can hold it: no duration (velocity-selective labelling) is null."""
    return {
        "LabelingType": list(design.kinds),
        "Delay": [float(value) for value in design.delay_s],
        "LabelingDuration": [float(value) if np.isfinite(value) else None for value in design.duration_s],
        "EffectiveEfficiency": [float(value) for value in design.efficiency],
        "BloodT1": float(design.blood_t1_s),
        "PartitionCoefficient": float(design.partition),
    }


def read_design(path) -> LabelDesign:
    """The design that :func:`average_delays_files` wrote."""
    content = json.loads(Path(path).read_text())
    durations = [np.inf if value is None else value for value in content["LabelingDuration"]]
    return LabelDesign(
        tuple(content["LabelingType"]), np.array(content["Delay"]), np.array(durations),
        np.array(content["EffectiveEfficiency"]), content["BloodT1"], content["PartitionCoefficient"],
    )  # fmt: skip


def average_delays_files(
    series: Sequence, labellings: Sequence, offsets: Sequence, m0, timing, mask, tissues: Mapping[str, str],
    settings: Mapping, *, difference, design, delay_offsets,
) -> None:  # fmt: skip
    """Write the mean ΔM/M0 of every delay of all series, how they were labelled, and the slices' delay.

    Args:
        series, labellings, offsets: what ``align_delay_series`` wrote, for each series.
        m0, timing: M0 image on their grid, and the labelling of the series that it came with.
        mask, tissues: brain and tissue fractions (by label) on that grid.
        settings: block ``asl``.
        difference, design, delay_offsets: outputs.

    Raises:
        DataError: images on different grids; no pair is left of a series; slices were read in different orders.
    """
    grid, brain = load_image(m0), load_image(mask)
    require_same_grid(grid, brain, names=("M0 image", "brain mask"))
    fractions = {label: load_image(tissues[label]).data for label in TISSUES}
    calibrated, partition = calibrate_m0(
        grid, brain.data > 0, fractions, settings["calibration"], load_labelling(timing).m0_repetition_time_s,
        load_labelling(timing).echo_time_s,
    )  # fmt: skip
    loaded = [
        DelaySeries(load_image(one).data, load_labelling(labelling), load_image(offset).data)
        for one, labelling, offset in zip(series, labellings, offsets, strict=True)
    ]
    inside = np.where(brain.data > 0, calibrated, 0)
    found = [average_delays(one, inside, fractions, settings, partition) for one in loaded]
    common = {"step": STEP, "sources": [*series, m0, mask], "settings": settings}
    save_image(difference, np.concatenate([images for images, _ in found], axis=-1), grid.affine)
    write_sidecar(difference, description="Mean difference of each delay relative to M0", units="1", **common)
    save_image(delay_offsets, shared_offsets(loaded, brain.data > 0, file=series[-1]), grid.affine)
    write_sidecar(delay_offsets, description="Time of the voxel's slice after the first slice", units="s", **common)
    write_json(design, _design_content(join_designs(*(one for _, one in found))))


def shared_offsets(series: Sequence[DelaySeries], mask: np.ndarray, file) -> np.ndarray:
    """The delay offsets that all series share, s, (x, y, z): the network takes one per slice.

    A head that moves by a slice between two series shifts their offsets by the time of one slice; another order of
    slices shifts them by far more.

    Raises:
        DataError: the slices were read in different orders.
    """
    first = series[0].offsets_s
    apart_s = max((float(np.abs(first - other.offsets_s)[mask].mean()) for other in series[1:]), default=0.0)
    if apart_s > SAME_ORDER_S:
        raise DataError(
            "The slices of the series with several delays were read in different orders", file=file,
            found=f"delays of a voxel {apart_s:.2f} s apart on average", allowed=f"up to {SAME_ORDER_S} s",
            remedy="leave asl_quantnet out of learning.systems for this session; the joint fit takes any orders",
        )  # fmt: skip
    return first


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a package demands of a session: its delays, and label parameters within the ranges of training."""
    acquisition, ranges = settings["acquisition"], settings["simulation"]["labelling"]
    low, high = ranges["suppression_efficiency"]
    limits = {
        "pcasl_efficiency": _scaled(ranges["pcasl_efficiency"], low**PCASL_PULSES, high**PCASL_PULSES),
        "vsasl_efficiency": _scaled(ranges["vsasl_efficiency"], low**VSASL_PULSES, high**VSASL_PULSES),
        "blood_t1_s": ranges["blood_t1_s"],
        "label_duration_s": ranges["label_duration_s"],
        "delay_offset_s": ranges["delay_offset_s"],
    }
    units = {"pcasl_efficiency": "", "vsasl_efficiency": ""}
    return {
        "pcasl_delays_s": {"equals": list(acquisition["pcasl_delays_s"]), "unit": "s"},
        "vsasl_delays_s": {"equals": list(acquisition["vsasl_delays_s"]), "unit": "s"},
        **{
            name: {"minimum": minimum, "maximum": maximum, "unit": units.get(name, "s")}
            for name, (minimum, maximum) in limits.items()
        },
    }


def _scaled(limits: Sequence[float], low: float, high: float) -> tuple[float, float]:
    return limits[0] * low, limits[1] * high


def _volumes(design: LabelDesign, velocity: bool) -> list[int]:
    return [index for index, kind in enumerate(design.kinds) if (LABELLING[kind] == VELOCITY) == velocity]


def _one(values, design: LabelDesign, velocity: bool) -> float | None:
    """The value that all volumes of a kind of labelling share; None where they differ or there are none."""
    found = np.unique(np.round(np.asarray(values)[_volumes(design, velocity)], 9))
    return float(found[0]) if len(found) == 1 else None


def read_acquisition(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The quantities of :func:`demands` of one session; another kind of labelling than PCASL or VSASL has no delays."""
    design, offsets = read_design(inputs["design"]), load_image(inputs["delay_offsets"]).data
    inside = load_image(inputs["mask"]).data > 0
    known = set(design.kinds) <= {"PCASL", "VSASL"}
    delays = {
        name: [float(design.delay_s[index]) for index in _volumes(design, velocity)] if known else []
        for name, velocity in (("pcasl_delays_s", False), ("vsasl_delays_s", True))
    }
    return {
        **delays,
        "pcasl_efficiency": _one(design.efficiency, design, velocity=False),
        "vsasl_efficiency": _one(design.efficiency, design, velocity=True),
        "blood_t1_s": design.blood_t1_s,
        "label_duration_s": _one(design.duration_s, design, velocity=False),
        "delay_offset_s": [float(offsets[inside].min()), float(offsets[inside].max())],
    }


def slice_labelling(design: LabelDesign, offsets_s: np.ndarray, mask: np.ndarray, device: str) -> Labelling:
    """Label parameters of each slice (z): the delay offset is the median inside the brain.

    The network counts perfusion for the usual partition coefficient; another one acts as an efficiency.
    """
    slices = mask.shape[2]
    offset = [float(np.median(offsets_s[..., z][mask[..., z]])) if mask[..., z].any() else 0.0 for z in range(slices)]
    usual = PARTITION_COEFFICIENT_ML_PER_G / design.partition
    values = (
        _one(design.efficiency, design, velocity=False) * usual,
        _one(design.efficiency, design, velocity=True) * usual,
        design.blood_t1_s,
        _one(design.duration_s, design, velocity=False),
    )
    return Labelling(
        *(torch.full((slices,), value, device=device) for value in values), torch.tensor(offset, device=device)
    )


def predict_volume(
    members: Sequence, difference: np.ndarray, mask: np.ndarray, labelling: Labelling, device: str = "cpu"
) -> Prediction:
    """Maps of a whole volume, slice by slice.

    Args:
        members: the networks.
        difference: ΔM/M0 (x, y, z, channels), PCASL first.
        mask: brain (x, y, z).
        labelling: label parameters of each slice (z,).
        device: where the networks are.

    Returns:
        NumPy arrays (x, y, z).
    """
    images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(difference, (2, 3), (0, 1)), dtype=np.float32))
    inside = torch.from_numpy(np.ascontiguousarray(np.moveaxis(mask, 2, 0), dtype=np.float32))[:, None]
    parts = []
    for place in torch.arange(len(images)).split(SLICES_AT_ONCE):
        scan = (images[place].to(device), inside[place].to(device), labelling.select(place.to(device)))
        parts.append(predict_ensemble(members, *scan))
    whole = (torch.cat(maps)[:, 0].movedim(0, 2).cpu().numpy() for maps in zip(*parts, strict=True))
    return Prediction(*whole)


def predict_session(package: Package, inputs: Mapping[str, Path], device: str) -> dict[str, Image]:
    """The network's maps of one session and least squares of the same images.

    Raises:
        DataError: difference images and mask are on different grids, or not every volume has its label parameters.
    """
    difference, brain = load_image(inputs["difference"]), load_image(inputs["mask"])
    require_same_grid(difference, brain, names=("difference images", "brain mask"))
    design, offsets = read_design(inputs["design"]), load_image(inputs["delay_offsets"]).data
    if len(design) != difference.data.shape[3]:
        raise DataError(
            "The difference images do not match their label parameters", file=inputs["difference"],
            found=f"{difference.data.shape[3]} images", allowed=len(design), remedy="delete both and run again",
        )  # fmt: skip
    mask = (brain.data > 0) & np.any(difference.data != 0, axis=-1)
    found = predict_volume(
        package.members, difference.data, mask, slice_labelling(design, offsets, mask, device), device
    )
    fit = fit_kinetic(
        difference.data[mask], design,
        FitOptions(model=FIT_MODELS[package.settings["simulation"]["convention"]]), delay_offset_s=offsets[mask],
    )  # fmt: skip
    images = {"cbf": found.cbf, "att": found.att_s, "cbf_sd": found.sd_cbf, "att_sd": found.sd_att_s}
    for name, values in (("cbf_ls", fit.cbf), ("att_ls", fit.att_s)):
        images[name] = np.zeros(mask.shape, dtype=np.float32)
        images[name][mask] = values.cpu().numpy()
    return {name: Image(data, difference.affine) for name, data in images.items()}
