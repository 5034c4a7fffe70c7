"""Perfusion, transit time and, as an option, arterial blood volume from series with several delays, fitted jointly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from scan2map.derivative_tables import write_frame
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.physics.asl_design import LABELLING, VELOCITY, LabelDesign, join_designs
from scan2map.physics.asl_kinetics import CONSENSUS
from scan2map.preprocess.asl.calibration import TISSUE_T1_S, calibrate_m0
from scan2map.preprocess.asl.coregister import TISSUES
from scan2map.preprocess.asl.difference import Pairs, select_pairs, subtract
from scan2map.preprocess.asl.fit import STATUS, FitOptions, KineticFit
from scan2map.preprocess.asl.fit_spatial import Smoothness, fit_kinetic_regularised
from scan2map.preprocess.asl.metadata import Labelling, load_labelling
from scan2map.preprocess.asl.quantify import CBF_UNITS, blood_t1, effective_efficiency, gate_cbf
from scan2map.preprocess.registration import apply_transform, load_transform
from scan2map.provenance import write_sidecar
from scan2map.quality.gates import check_map

STEP = "quantify_multidelay"
MODEL_NAMES = {
    CONSENSUS: "one compartment, label decays with the T1 of blood (Alsop et al. 2015)",
    "general_kinetic": "general kinetic model, label decays with the T1 of tissue after arrival (Buxton et al. 1998)",
}
PAIR_DICTIONARY = {
    "series": {"Description": "Series that the difference image belongs to, counted from 0"},
    "labelling": {"Description": "Kind of labelling"},
    "volumes": {"Description": "Volumes that it was made of, counted from 0"},
    "delay_s": {"Description": "Post-labelling delay, or time from labelling to readout", "Units": "s"},
    "fate": {"Description": "used, skipped at the start, or outlier (among the images of its delay)"},
}
# Transit times of living grey and white matter, s: a median outside is a failed measurement.
ATT_RANGE_S = (0.2, 4.0)


class DelaySeries(NamedTuple):
    """One series with several delays on the common grid.

    Attributes:
        data: control, label or difference volumes, (x, y, z, t).
        labelling: of these volumes.
        offsets_s: added to the delays of a voxel, (x, y, z).
    """

    data: np.ndarray
    labelling: Labelling
    offsets_s: np.ndarray


class Differences(NamedTuple):
    """Difference images of one series, what became of each, and how each was labelled."""

    pairs: Pairs
    fate: np.ndarray
    design: LabelDesign


class Maps(NamedTuple):
    """Maps by name, (x, y, z), 0 outside the mask; the fit of the voxels; and constants for the sidecar."""

    images: dict[str, np.ndarray]
    fit: KineticFit
    assumptions: dict


def select_by_delay(pairs: Pairs, tissues: Mapping[str, np.ndarray], skip: int, method: str) -> np.ndarray:
    """What becomes of each difference image: outliers are judged among the images of one delay.

    Args:
        pairs: difference images of one series.
        tissues: fractions of GM, WM and CSF on the same grid.
        skip: how many to leave out at the start of the series.
        method: ``none`` or ``score``.

    Returns:
        (n,) ``used``, ``skipped`` or ``outlier``.

    Raises:
        DataError: none is left.
    """
    fate = select_pairs(pairs.images, dict(tissues), skip, "none")
    for delay in np.unique(pairs.delays_s):
        group = np.flatnonzero((pairs.delays_s == delay) & (fate == "used"))
        if len(group):
            fate[group] = select_pairs(pairs.images[..., group], dict(tissues), 0, method)
    return fate


def design_of(pairs: Pairs, labelling: Labelling, settings: Mapping, partition: float) -> LabelDesign:
    """How each difference image was labelled.

    Args:
        pairs: difference images of one series.
        labelling: of its volumes.
        settings: block ``asl``.
        partition: blood-brain partition coefficient, ml/g.

    Raises:
        DataError: the T1 of blood is not known.
    """
    velocity = LABELLING[labelling.kind] == VELOCITY
    setting = settings["multidelay"]["velocity_selective_efficiency"] if velocity else settings["efficiency"]
    count = len(pairs.volumes)
    durations = np.array([labelling.durations_s[volumes[0]] for volumes in pairs.volumes])
    return LabelDesign(
        (labelling.kind,) * count,
        pairs.delays_s,
        np.full(count, np.inf) if velocity else durations,
        np.full(count, effective_efficiency(labelling, setting)),
        blood_t1(settings["blood_t1_s"], labelling.field_strength_t),
        partition,
    )


def fit_options(settings: Mapping, tissues: Mapping[str, np.ndarray], mask: np.ndarray) -> FitOptions:
    """Options of the fit from the block ``asl.multidelay``; tissue T1 from the fractions where it is not set."""
    tissue_t1 = settings["tissue_t1_s"]
    if tissue_t1 is None and settings["model"] != CONSENSUS:
        tissue_t1 = mixed_t1(tissues, mask)
    return FitOptions(
        model=settings["model"],
        tissue_t1_s=TISSUE_T1_S["GM"] if tissue_t1 is None else tissue_t1,
        arterial_component=settings["arterial_component"],
        arterial_lead_s=settings["arterial_lead_s"],
        cbf_bounds=tuple(settings["cbf_bounds_ml_100g_min"]),
        att_bounds_s=tuple(settings["att_bounds_s"]),
        att_prior_s=None if settings["att_prior_s"] is None else tuple(settings["att_prior_s"]),
    )


def mixed_t1(tissues: Mapping[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    """T1 of the perfused tissue of each voxel of the mask, s: mean over its grey and white matter, to 10 ms."""
    grey, white = tissues["GM"][mask], tissues["WM"][mask]
    share = np.where(grey + white > 0.05, grey / np.maximum(grey + white, 0.05), 0.5)
    return np.round(share * TISSUE_T1_S["GM"] + (1 - share) * TISSUE_T1_S["WM"], 2)


def quantify_delays(
    series: Sequence[DelaySeries], m0: Image, mask: np.ndarray, tissues: dict[str, np.ndarray], timing: Labelling,
    settings: Mapping, device: str = "cpu",
) -> tuple[Maps, list[Differences]]:  # fmt: skip
    """Fit CBF and ATT jointly to all series.

    Args:
        series: on one grid.
        m0: M0 image on that grid.
        mask: brain.
        tissues: fractions of GM, WM, CSF.
        timing: labelling of the series that the M0 image came with (its repetition and echo time).
        settings: block ``asl``.
        device: torch device.

    Raises:
        DataError: there is no pair, no M0, or the T1 of blood is not known.
        SettingError: fewer different delays than parameters.
    """
    calibrated, partition = calibrate_m0(
        m0, mask, tissues, settings["calibration"], timing.m0_repetition_time_s, timing.echo_time_s
    )
    inside = mask & (calibrated > 0)
    found = [_differences(one, tissues, settings, partition) for one in series]
    kept = [one.pairs.images[..., one.fate == "used"][inside] for one in found]
    design = join_designs(*(one.design.take(np.flatnonzero(one.fate == "used")) for one in found))
    options = fit_options(settings["multidelay"], tissues, inside)
    fit = fit_kinetic_regularised(
        np.concatenate(kept, axis=1) / calibrated[inside][:, None],
        design,
        inside,
        options,
        Smoothness(**settings["multidelay"]["regularisation"]),
        voxel_size_mm=m0.voxel_size_mm,
        delay_offset_s=_offsets(series, found, inside),
        device=device,
    )
    return Maps(_images(fit, inside, options), fit, _assumptions(series, found, options, settings, design, fit)), found


def _offsets(series: Sequence[DelaySeries], found: Sequence[Differences], mask: np.ndarray) -> np.ndarray:
    """Delay offsets, (voxels,), or (volumes, voxels) where the series were read in different slice orders."""
    own = [one.offsets_s[mask] for one in series]
    if all(np.array_equal(own[0], other) for other in own[1:]):
        return own[0]
    return np.concatenate([np.tile(one, ((of.fate == "used").sum(), 1)) for one, of in zip(own, found, strict=True)])


def _differences(series: DelaySeries, tissues, settings: Mapping, partition: float) -> Differences:
    pairs = subtract(series.data, series.labelling, settings["subtraction"])
    fate = select_by_delay(pairs, tissues, settings["skip_pairs"], settings["outliers"])
    return Differences(pairs, fate, design_of(pairs, series.labelling, settings, partition))


def _images(fit: KineticFit, mask: np.ndarray, options: FitOptions) -> dict[str, np.ndarray]:
    """Maps by output name; a standard deviation is at most the width of the bounds, which is known before the scan."""
    values = {"cbf": fit.cbf, "att": fit.att_s, "sd_cbf": fit.sd_cbf, "sd_att": fit.sd_att_s}
    widths = {"sd_cbf": options.cbf_bounds, "sd_att": options.att_bounds_s, "sd_abv": options.arterial_bounds}
    if fit.arterial_volume is not None:
        values |= {"abv": fit.arterial_volume, "sd_abv": fit.sd_arterial_volume}
    images = {}
    for name, tensor in values.items():
        low, high = widths.get(name, (-np.inf, np.inf))
        images[name] = np.zeros(mask.shape, dtype=np.float32)
        images[name][mask] = np.minimum(np.nan_to_num(tensor.cpu().numpy(), nan=np.inf), high - low)
    return images


def _assumptions(series, found, options: FitOptions, settings: Mapping, design: LabelDesign, fit: KineticFit) -> dict:
    status = fit.status.cpu().numpy()
    strength = settings["multidelay"]["regularisation"]["strength"]
    own_t1 = np.unique(np.atleast_1d(options.tissue_t1_s))
    return {
        "Model": MODEL_NAMES[options.model],
        "ArterialComponent": options.arterial_component,
        "Estimator": "bounded least squares"
        + (", total variation between neighbours" if strength else ", voxel by voxel"),
        "TransitTimePrior": options.att_prior_s and list(options.att_prior_s),
        "LabelingType": [one.labelling.kind for one in series],
        "LabelingEfficiency": [round(float(one.design.efficiency[0]), 4) for one in found],
        "BackgroundSuppressionPulses": [one.labelling.suppression_pulses for one in series],
        "Delays": [list(one.labelling.labelled_delays_s) for one in series],
        "SliceTimingUsed": [one.labelling.slice_delays_s is not None for one in series],
        "BloodT1": design.blood_t1_s,
        "PartitionCoefficient": design.partition,
        "TissueT1": None if options.model == CONSENSUS else [float(own_t1[0]), float(own_t1[-1])],
        "PairsUsed": [int((one.fate == "used").sum()) for one in found],
        "PairsAcquired": [len(one.fate) for one in found],
        "VoxelsByStatus": {text: int((status == code).sum()) for code, text in STATUS.items()},
    }


def quantify_multidelay_files(
    series: Sequence, labellings: Sequence, offsets: Sequence, m0, timing, mask, transform, t1w,
    tissues: Mapping[str, str], settings: Mapping, device: str, *, maps: Mapping[str, str], cbf_t1w, att_t1w, pairs,
) -> None:  # fmt: skip
    """Write the maps of CBF and ATT (and arterial blood volume), their uncertainty, and the table of pairs.

    Args:
        series, labellings, offsets: what ``align_delay_series`` wrote, for each series.
        m0, timing: M0 image on their grid, and the labelling of the series that it came with.
        mask, tissues: brain and tissue fractions (by label) on that grid.
        transform: ASL to T1w.
        t1w: T1w image.
        settings: block ``asl``.
        device: torch device.
        maps: outputs by name: ``cbf``, ``att``, ``sd_cbf``, ``sd_att``, and ``abv``, ``sd_abv`` where it is fitted.
        cbf_t1w, att_t1w: outputs on the T1w grid.
        pairs: output table.

    Raises:
        DataError: no perfusion can be computed, or it is not plausible.
    """
    grid, brain = load_image(m0), load_image(mask)
    require_same_grid(grid, brain, names=("M0 image", "brain mask"))
    fractions = {label: load_image(tissues[label]).data for label in TISSUES}
    loaded = [
        DelaySeries(load_image(one).data, load_labelling(labelling), load_image(offset).data)
        for one, labelling, offset in zip(series, labellings, offsets, strict=True)
    ]
    inside = brain.data > 0
    found, differences = quantify_delays(loaded, grid, inside, fractions, load_labelling(timing), settings, device)
    gate_cbf(found.images["cbf"], inside, fractions, file=maps["cbf"])
    check_map(found.images["att"], inside, name="ATT", unit="s", median_range=ATT_RANGE_S, file=maps["att"])
    used = {"sources": [*series, m0, mask], "settings": settings, "step": STEP}
    for name, path in maps.items():
        description, units = DESCRIPTIONS[name]
        save_image(path, found.images[name], grid.affine)
        write_sidecar(path, description=description, units=units, **used, **found.assumptions)
    to_t1w, reference = load_transform(transform), load_image(t1w)
    for name, path in (("cbf", cbf_t1w), ("att", att_t1w)):
        description, units = DESCRIPTIONS[name]
        moved = apply_transform(Image(found.images[name], grid.affine), reference, to_t1w)
        save_image(path, moved.data, moved.affine)
        write_sidecar(path, description=f"{description}, on the T1w grid", units=units, **used)
    _save_pairs(pairs, differences, used)


DESCRIPTIONS = {
    "cbf": ("Cerebral blood flow, several delays", CBF_UNITS),
    "att": ("Arterial transit time", "s"),
    "abv": ("Arterial blood volume", "ml/ml"),
    "sd_cbf": ("Standard deviation of cerebral blood flow (Cramér–Rao bound at the estimate)", CBF_UNITS),
    "sd_att": ("Standard deviation of arterial transit time (Cramér–Rao bound at the estimate)", "s"),
    "sd_abv": ("Standard deviation of arterial blood volume (Cramér–Rao bound at the estimate)", "ml/ml"),
}


def _save_pairs(path, found: Sequence[Differences], used: Mapping) -> None:
    rows = [
        (number, kind, ",".join(map(str, volumes)), delay, fate)
        for number, one in enumerate(found)
        for kind, volumes, delay, fate in zip(
            one.design.kinds, one.pairs.volumes, one.pairs.delays_s, one.fate, strict=True
        )
    ]
    table = pd.DataFrame(rows, columns=list(PAIR_DICTIONARY))
    write_frame(path, table, PAIR_DICTIONARY, description="What became of each difference image", **used)
