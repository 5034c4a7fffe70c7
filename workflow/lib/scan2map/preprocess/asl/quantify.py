"""Perfusion from one delay by the consensus formula, and everything it needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.physics import asl as physics
from scan2map.preprocess.asl.calibration import calibrate_m0
from scan2map.preprocess.asl.coregister import TISSUES
from scan2map.preprocess.asl.difference import Pairs, select_pairs, subtract
from scan2map.preprocess.asl.metadata import CONTINUOUS, VELOCITY, Labelling, load_labelling
from scan2map.preprocess.asl.partial_volume import correct_partial_volume
from scan2map.preprocess.asl.quality import pure_tissue_cbf
from scan2map.preprocess.registration import apply_transform, load_transform
from scan2map.provenance import write_sidecar
from scan2map.quality.gates import check_map

# T1 of arterial blood by field strength (T), s: Alsop et al. 2015, table 2; 7 T: Zhang et al. 2013, MRM 70:1082.
BLOOD_T1_S = {1.5: 1.35, 3.0: 1.65, 7.0: 2.1}
# Default labelling efficiencies: Alsop et al. 2015, table 2; CASL: Aslan et al. 2010, MRM 63:765 (about 0.68).
# VSASL: Qin et al. 2022, MRM 88:1528 (velocity-selective saturation).
EFFICIENCY = {
    "PCASL": physics.PCASL_EFFICIENCY,
    "CASL": 0.68,
    "PASL": physics.PASL_EFFICIENCY,
    "VSASL": physics.VSASL_EFFICIENCY,
}
# Perfusion of grey matter outside this range is a failed measurement, ml/100g/min.
GM_CBF_RANGE = (5.0, 200.0)
CBF_UNITS = "mL/100g/min"


class Perfusion(NamedTuple):
    """Result of the quantification.

    Attributes:
        cbf: (x, y, z) ml/100g/min, 0 outside the mask.
        difference: mean difference image, units of the series.
        m0: calibrated M0, units of the series.
        pairs: all differences.
        fate: (n,) ``used``, ``skipped`` or ``outlier``.
        assumptions: constants that were used, for the sidecar.
    """

    cbf: np.ndarray
    difference: np.ndarray
    m0: np.ndarray
    pairs: Pairs
    fate: np.ndarray
    assumptions: dict


def blood_t1(setting: float | None, field_strength_t: float) -> float:
    """T1 of arterial blood: the setting, else the value for the field strength, s.

    Raises:
        DataError: there is no setting and no value within 10 % of the field strength.
    """
    if setting is not None:
        return setting
    for field, value in BLOOD_T1_S.items():
        if abs(field - field_strength_t) <= 0.1 * field:
            return value
    raise DataError(
        "The T1 of blood is not known at this field strength",
        found=f"{field_strength_t:g} T", allowed=", ".join(f"{field:g} T" for field in BLOOD_T1_S),
        remedy="set asl.blood_t1_s",
    )  # fmt: skip


def effective_efficiency(labelling: Labelling, setting: float | None) -> float:
    """Labelling efficiency (the setting, else the measured one, else the consensus value) times 0.95 per pulse."""
    inversion = setting or labelling.efficiency or EFFICIENCY[labelling.kind]
    return physics.labelling_efficiency(inversion, labelling.suppression_pulses)


def slice_delays(labelling: Labelling, slices: int) -> np.ndarray:
    """The delay at which each slice is read, s, shape (1, 1, z).

    Raises:
        DataError: the labelled volumes have several delays: there is no single-delay formula for them.
    """
    if len(labelling.labelled_delays_s) != 1:
        raise DataError(
            "The series has several delays and the consensus formula takes one",
            found=f"{list(labelling.labelled_delays_s)} s", remedy="it belongs to the multi-delay fit",
        )  # fmt: skip
    later = labelling.slice_delays_s or (0.0,) * slices
    return (labelling.labelled_delays_s[0] + np.array(later, dtype=np.float32))[None, None, :]


def consensus_cbf(difference, m0, labelling: Labelling, *, efficiency: float, blood_t1_s: float, partition: float):
    """Perfusion (x, y, z) in ml/100g/min from the mean difference image.

    PCASL, CASL and PASL by Alsop et al. 2015, equations 1 and 2; VSASL by Qin et al. 2022.

    Args:
        difference: control minus label, (x, y, z).
        m0: equilibrium magnetisation, same units and shape, above 0.
        labelling: kind, delay, duration, slice delays.
        efficiency: effective labelling efficiency.
        blood_t1_s: T1 of arterial blood, s.
        partition: blood-brain partition coefficient, ml/g.
    """
    delays = slice_delays(labelling, difference.shape[2])
    constants = {"efficiency": efficiency, "blood_t1_s": blood_t1_s, "partition": partition}
    if labelling.kind in VELOCITY:
        return physics.cbf_from_vsasl(difference, m0, delays, **constants)
    formula = physics.cbf_from_pcasl if labelling.kind in CONTINUOUS else physics.cbf_from_pasl
    return formula(difference, m0, delays, labelling.duration_s, **constants)


def quantify(
    series: np.ndarray,
    m0: Image,
    mask: np.ndarray,
    tissues: dict[str, np.ndarray],
    labelling: Labelling,
    settings: dict,
) -> Perfusion:
    """Perfusion map of one series.

    Args:
        series: motion-corrected control, label or difference volumes, (x, y, z, t).
        m0: M0 image on the same grid.
        mask: brain.
        tissues: fractions of GM, WM, CSF.
        labelling: of the volumes.
        settings: block ``asl``.

    Raises:
        DataError: no pair, no M0, several delays, or an unknown blood T1.
    """
    pairs = subtract(series, labelling, settings["subtraction"])
    fate = select_pairs(pairs.images, tissues, settings["skip_pairs"], settings["outliers"])
    kept = fate == "used"
    difference = pairs.images[..., kept].mean(-1)
    calibrated, partition = calibrate_m0(
        m0, mask, tissues, settings["calibration"], labelling.m0_repetition_time_s, labelling.echo_time_s
    )
    constants = {
        "efficiency": effective_efficiency(labelling, settings["efficiency"]),
        "blood_t1_s": blood_t1(settings["blood_t1_s"], labelling.field_strength_t),
        "partition": partition,
    }
    safe = np.where(mask & (calibrated > 0), calibrated, 1)
    cbf = np.where(mask, consensus_cbf(difference, safe, labelling, **constants), 0)
    assumptions = {
        "Model": "consensus single delay, one compartment (Alsop et al. 2015)",
        "LabelingType": labelling.kind,
        "LabelingEfficiency": round(constants["efficiency"], 4),
        "BackgroundSuppressionPulses": labelling.suppression_pulses,
        "BloodT1": constants["blood_t1_s"],
        "PartitionCoefficient": partition,
        "PostLabelingDelay": labelling.labelled_delays_s[0],
        "LabelOrBolusDuration": labelling.duration_s,
        "SliceTimingUsed": labelling.slice_delays_s is not None,
        "M0Type": labelling.m0_type,
        "M0RepetitionTime": labelling.m0_repetition_time_s,
        "PairsUsed": int(kept.sum()),
        "PairsAcquired": len(kept),
    }
    return Perfusion(cbf.astype(np.float32), difference, calibrated, pairs, fate, assumptions)


def perfusion_of(series: np.ndarray, *arguments) -> Perfusion:
    """Perfusion map of one series: the consensus formula for one delay, the joint fit for several.

    Args:
        series, arguments: as in :func:`quantify`.
    """
    # That module builds on this one.
    from scan2map.preprocess.asl.several_delays import has_several_delays, quantify_several

    labelling = arguments[3]
    return (quantify_several if has_several_delays(labelling) else quantify)(series, *arguments)


def quantify_cbf_files(
    series, m0, mask, labelling, transform, t1w, tissues: dict[str, str], settings: dict,
    *, cbf, cbf_t1w, deltam, calibrated, pairs,
) -> None:  # fmt: skip
    """Write the perfusion map, the images behind it, and the table of pairs.

    Args:
        series, m0: motion-corrected volumes and M0 image on their grid.
        mask, tissues: brain and tissue fractions (by label) on the ASL grid.
        labelling: what ``prepare_asl`` wrote.
        transform: ASL to T1w.
        t1w: T1w image, gives the grid of ``cbf_t1w``.
        settings: block ``asl``.
        cbf, cbf_t1w, deltam, calibrated, pairs: outputs.

    Raises:
        DataError: no perfusion can be computed, or it is not plausible.
    """
    image, m0_image, brain = load_image(series), load_image(m0), load_image(mask)
    require_same_grid(image, brain, names=("ASL series", "brain mask"))
    inside, fractions = brain.data > 0, {label: load_image(tissues[label]).data for label in TISSUES}
    found = perfusion_of(image.data, m0_image, inside, fractions, load_labelling(labelling), settings)
    values = correct_partial_volume(found.cbf, inside, fractions, image.affine, settings["partial_volume"])
    gate_cbf(found.cbf, inside, fractions, file=series)
    used = {"sources": [series, m0, mask], "settings": settings, "step": "quantify_cbf"}
    for path, data, description, units in (
        (deltam, found.difference, "Mean control minus label", "arbitrary"),
        (calibrated, found.m0, "M0 for the quantification: relaxed, scaled, smoothed", "arbitrary"),
        (cbf, values, "Cerebral blood flow", CBF_UNITS),
    ):
        save_image(path, data, image.affine)
        write_sidecar(path, description=description, units=units, **used, **found.assumptions)
    moved = apply_transform(Image(values, image.affine), load_image(t1w), load_transform(transform))
    save_image(cbf_t1w, moved.data, moved.affine)
    write_sidecar(cbf_t1w, description="Cerebral blood flow on the T1w grid", units=CBF_UNITS, **used)
    _save_pairs(pairs, found)


def gate_cbf(cbf: np.ndarray, mask: np.ndarray, tissues: dict[str, np.ndarray], *, file=None) -> float:
    """Stop unless perfusion is finite, varies, and is that of living grey matter.

    Returns:
        Perfusion of grey matter, ml/100g/min.

    Raises:
        DataError: the map cannot be true.
    """
    check_map(cbf, mask, name="CBF", unit="ml/100g/min", median_range=(0.5, GM_CBF_RANGE[1]), file=file)
    grey = pure_tissue_cbf(cbf, mask, tissues)["GM"]
    low, high = GM_CBF_RANGE
    if not low <= grey <= high:
        raise DataError(
            "CBF of grey matter is not plausible", file=file, found=f"{grey:.1f} ml/100g/min",
            allowed=f"{low:g} to {high:g} ml/100g/min",
            remedy="check control/label order, M0 scale, delays and label duration",
        )  # fmt: skip
    return grey


def _save_pairs(path, found: Perfusion) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "pair": range(len(found.fate)),
            "volumes": [",".join(map(str, volumes)) for volumes in found.pairs.volumes],
            "post_label_delay_s": found.pairs.delays_s,
            "fate": found.fate,
        }
    )
    table.to_csv(path, sep="\t", index=False)
    write_sidecar(path, step="quantify_cbf", description="What became of each control-label pair (volumes from 0)")
