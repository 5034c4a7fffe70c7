"""Metadata as three makers' scanners write them: each variant gives the true perfusion, or one clear reason."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from scan2map import config
from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.physics import asl as physics
from scan2map.preprocess.asl.metadata import load_labelling
from scan2map.preprocess.asl.motion import correct_asl_motion_files
from scan2map.preprocess.asl.quality import pure_tissue_cbf
from scan2map.preprocess.asl.quantify import perfusion_of
from scan2map.preprocess.asl.series import prepare_asl_files

SLICES = 12
TISSUE_T1_S, TRUE_ATT_S, TRUE_GM_CBF = 1.3, 0.6, 60.0
REPETITION = "RepetitionTimePreparation"
PAIRS = ("control", "label") * 3
FLIPPED = ("label", "control") * 3

PCASL = {
    "ArterialSpinLabelingType": "PCASL", "PostLabelingDelay": 1.8, "LabelingDuration": 1.8, "MagneticFieldStrength": 3,
    "BackgroundSuppression": False, "M0Type": "Separate", "RepetitionTimePreparation": 4.6, "EchoTime": 0.012,
}  # fmt: skip
PASL = PCASL | {
    "ArterialSpinLabelingType": "PASL", "LabelingDuration": None, "BolusCutOffFlag": True,
    "BolusCutOffTechnique": "QUIPSSII", "BolusCutOffDelayTime": 0.7, "RepetitionTimePreparation": 3.0,
}  # fmt: skip
SUPPRESSED = {"BackgroundSuppression": True, "BackgroundSuppressionNumberPulses": 2}
READ_3D = {"MRAcquisitionType": "3D"}
READ_2D = {"MRAcquisitionType": "2D", "SliceTiming": [0.04 * n for n in range(SLICES)]}
MULTIBAND = READ_2D | {"SliceTiming": [0.06 * (n % 4) for n in range(SLICES)], "MultibandAccelerationFactor": 3}
GE = PCASL | READ_3D | {
    "Manufacturer": "GE", "BackgroundSuppression": True, "BackgroundSuppressionNumberPulses": 5,
    "PostLabelingDelay": 2.025, "LabelingDuration": 1.45, "M0Type": "Included",
}  # fmt: skip
SIEMENS = PCASL | {"Manufacturer": "Siemens"}
PHILIPS = PCASL | {"Manufacturer": "Philips"}
DISPLAY = {"UsePhilipsFloatNotDisplayScaling": 0, "PhilipsRescaleSlope": 4.0, "PhilipsScaleSlope": 0.05}
LONG_TR = {"RepetitionTimePreparation": 8.0}


def per_volume(types, **values):
    """A list for each volume from a value per volume type."""
    return [values[kind] for kind in types]


@dataclass(frozen=True)
class Variant:
    """One scan: what its files say, and what becomes of it.

    Attributes:
        name: of the variant.
        sidecar: of the series.
        types: of its volumes.
        m0: sidecar of the separate M0 image, or None.
        reason: words of the refusal; empty where perfusion comes out.
        settings: changes to the block ``asl``.
        stored: factor on the stored values of the series, on those of the M0 image.
    """

    name: str
    sidecar: dict
    types: tuple = PAIRS
    m0: dict | None = None
    reason: str = ""
    settings: dict = field(default_factory=dict)
    stored: tuple[float, float] = (1.0, 1.0)


INCLUDED, DIFFERENCE = ("m0scan", *PAIRS), ("deltam", "m0scan")
MULTI = [0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.5, 2.5]
M0_MS = per_volume(INCLUDED, m0scan=6.0, control=4.6, label=4.6)
MULTI_TYPES = ("control", "label") * 5
VARIANTS = [
    # Siemens
    Variant("Siemens 2D PCASL, separate M0", SIEMENS | READ_2D, m0=LONG_TR),
    Variant("Siemens 2D PCASL, label first", SIEMENS | READ_2D, FLIPPED, m0=LONG_TR),
    Variant("Siemens 2D PCASL, M0 with short TR", SIEMENS | READ_2D, m0={"RepetitionTimePreparation": 2.0}),
    Variant("Siemens 2D PCASL, M0 TR as RepetitionTime", SIEMENS | READ_2D, m0={"RepetitionTime": 2.0}),
    Variant("Siemens 2D multiband PCASL", SIEMENS | MULTIBAND, m0=LONG_TR),
    Variant("Siemens 3D GRASE PCASL, M0 included", SIEMENS | READ_3D | SUPPRESSED | {"M0Type": "Included"}, INCLUDED),
    Variant("Siemens 3D PCASL, TR of each volume", SIEMENS | READ_3D | SUPPRESSED | {
        "M0Type": "Included", "RepetitionTimePreparation": M0_MS}, INCLUDED),
    Variant("Siemens 2D PASL QUIPSS II", SIEMENS | PASL | READ_2D, m0=LONG_TR),
    Variant("Siemens 2D PASL Q2TIPS", SIEMENS | PASL | READ_2D | {
        "BolusCutOffTechnique": "Q2TIPS", "BolusCutOffDelayTime": [0.7, 1.6]}, m0=LONG_TR),
    Variant("Siemens 3D PASL QUIPSS", SIEMENS | PASL | READ_3D | {"BolusCutOffTechnique": "QUIPSS"}, m0=LONG_TR),
    Variant("Siemens 3D PCASL, several delays", SIEMENS | READ_3D | {"PostLabelingDelay": MULTI}, MULTI_TYPES,
            m0=LONG_TR),
    Variant("Siemens 2D PCASL at 1.5 T", SIEMENS | READ_2D | {"MagneticFieldStrength": 1.5}, m0=LONG_TR),
    Variant("Siemens 2D PCASL, slices from the top", SIEMENS | READ_2D | {"SliceEncodingDirection": "k-"}, m0=LONG_TR),
    Variant("Siemens 3D PASL without cut-off", SIEMENS | PASL | READ_3D | {"BolusCutOffFlag": False}, m0=LONG_TR,
            reason="BolusCutOffFlag.*PASL without it cannot be quantified"),
    Variant("Siemens 2D PCASL without slice times", SIEMENS | {"MRAcquisitionType": "2D"}, m0=LONG_TR,
            reason="SliceTiming.*asl.slice_timing: ignore"),
    Variant("Siemens multiband without its factor", SIEMENS | MULTIBAND | {"MultibandAccelerationFactor": None},
            m0=LONG_TR, reason="SliceTiming.*at most 1 slices at one time"),
    Variant("Siemens delay in milliseconds", SIEMENS | READ_3D | {"PostLabelingDelay": 1800}, m0=LONG_TR,
            reason="PostLabelingDelay.*at most 10 s"),
    Variant("Siemens delay of zero", SIEMENS | READ_3D | {"PostLabelingDelay": 0}, m0=LONG_TR,
            reason="PostLabelingDelay.*found: 0.*above 0"),
    Variant("Siemens M0 missing", SIEMENS | READ_3D, reason="M0Type is Separate.*has not a separate M0 image"),
    Variant("Siemens M0 with a TR of zero", SIEMENS | READ_3D, m0={"RepetitionTimePreparation": 0},
            reason="RepetitionTimePreparation.*found: 0.*above 0"),
    Variant("Siemens pairs beside the scanner's differences", SIEMENS | READ_3D, (*PAIRS, "deltam"), m0=LONG_TR),
    # GE
    Variant("GE 3D, differences and M0 in one file", GE, DIFFERENCE),
    Variant("GE 3D, difference alone and M0 apart", GE | {"M0Type": "Separate"}, ("deltam",), m0=LONG_TR),
    Variant("GE 3D, scanner's CBF beside the difference", GE, ("deltam", "m0scan", "cbf")),
    Variant("GE 3D, differences times 32", GE | {"M0Type": "Separate"}, ("deltam",), m0=LONG_TR, stored=(32.0, 1.0),
            reason="another scale than the M0 image.*asl.calibration.m0_scale"),
    Variant("GE 3D, differences times 32, told", GE | {"M0Type": "Separate"}, ("deltam",), m0=LONG_TR,
            stored=(32.0, 1.0), settings={"calibration": {"m0_scale": 32}}),
    Variant("Siemens 2D PCASL, several delays", SIEMENS | READ_2D | {"PostLabelingDelay": MULTI}, MULTI_TYPES,
            m0=LONG_TR),
    Variant("GE 3D, several delays and durations", GE | {
        "M0Type": "Separate", "PostLabelingDelay": [0.7, 1.2, 1.7, 2.2, 2.7],
        "LabelingDuration": [1.5, 1.5, 1.8, 1.8, 1.8]}, ("deltam",) * 5, m0=LONG_TR),
    Variant("GE 3D, pulses not said", GE | {"BackgroundSuppressionNumberPulses": None}, DIFFERENCE,
            reason="BackgroundSuppressionNumberPulses.*asl.suppression_pulses"),
    Variant("GE 3D, pulses not said, told", GE | {"BackgroundSuppressionNumberPulses": None}, DIFFERENCE,
            settings={"suppression_pulses": 5}),
    Variant("GE 3D, pulse times", GE | {"BackgroundSuppressionNumberPulses": None,
            "BackgroundSuppressionPulseTime": [0.1, 0.4, 1.4, 1.9, 2.9]}, DIFFERENCE),
    Variant("GE 3D, CBF alone", GE, ("cbf",), reason="no control and label volumes.*not quantified again"),
    Variant("GE 3D, no M0", GE | {"M0Type": "Absent"}, ("deltam",), reason="no M0 image.*add the M0 series"),
    Variant("GE 3D CASL", GE | {"ArterialSpinLabelingType": "CASL"}, DIFFERENCE),
    # Philips
    Variant("Philips 2D PCASL, separate M0", PHILIPS | READ_2D | SUPPRESSED, m0=LONG_TR),
    Variant("Philips 2D PCASL, display values", PHILIPS | READ_2D | SUPPRESSED | DISPLAY, m0=LONG_TR | DISPLAY | {
        "PhilipsScaleSlope": 0.02}, stored=(4.0 * 0.05, 4.0 * 0.02)),
    Variant("Philips 2D PCASL, display and float values", PHILIPS | READ_2D | DISPLAY, m0=LONG_TR | {
        "UsePhilipsFloatNotDisplayScaling": 1}, stored=(4.0 * 0.05, 1.0)),
    Variant("Philips 2D PCASL, real-world values", PHILIPS | READ_2D | {
        "PhilipsRWVSlope": 4.0, "PhilipsScaleSlope": 0.05, "UsePhilipsFloatNotDisplayScaling": 1},
        m0=LONG_TR, stored=(4.0 * 0.05, 1.0)),
    Variant("Philips scale of an unknown kind", PHILIPS | READ_2D | {"UsePhilipsFloatNotDisplayScaling": 2}, m0=LONG_TR,
            reason="UsePhilipsFloatNotDisplayScaling.*0 .display values. or 1"),
    Variant("Philips display values without a slope", PHILIPS | READ_2D | DISPLAY | {"PhilipsScaleSlope": None},
            m0=LONG_TR, reason="PhilipsScaleSlope cannot be used"),
    Variant("Philips 3D GRASE, M0 estimated", PHILIPS | READ_3D | {"M0Type": "Estimate", "M0Estimate": 830.0}),
    Variant("Philips 3D GRASE, M0 estimate of zero", PHILIPS | READ_3D | {"M0Type": "Estimate", "M0Estimate": 0},
            reason="M0Estimate.*above 0"),
    Variant("Philips 2D PCASL, controls as M0", PHILIPS | READ_2D | {"M0Type": "Absent"},
            settings={"without_m0": "control"}),
    Variant("Philips 2D PCASL, suppressed controls as M0", PHILIPS | READ_2D | SUPPRESSED | {"M0Type": "Absent"},
            settings={"without_m0": "control"}, reason="no M0 image.*2 background-suppression pulses"),
    Variant("Philips 2D PCASL, dummy volume first", PHILIPS | READ_2D, ("n/a", *PAIRS), m0=LONG_TR),
    Variant("Philips label and delay longer than TR", PHILIPS | READ_3D | {"RepetitionTimePreparation": 3.0},
            m0=LONG_TR, reason="RepetitionTimePreparation.*at least 3.6 s"),
    Variant("Philips unknown field strength", PHILIPS | READ_3D | {"MagneticFieldStrength": 0.55}, m0=LONG_TR,
            reason="T1 of blood is not known.*asl.blood_t1_s"),
    Variant("Philips look-locker FAIR", PHILIPS | READ_3D | {"ArterialSpinLabelingType": "FAIR"}, m0=LONG_TR,
            reason="ArterialSpinLabelingType.*PCASL, CASL, PASL"),
]  # fmt: skip


def saturated(m0, repetition_time_s):
    """What an image with this repetition time shows of M0 (all from 5 s on: the consensus corrects no longer TR)."""
    return m0 if repetition_time_s >= 5 else m0 * (1 - np.exp(-repetition_time_s / TISSUE_T1_S))


def slice_delays_s(sidecar):
    if sidecar["MRAcquisitionType"] == "3D" or sidecar.get("SliceTiming") is None:
        return np.zeros(SLICES)
    times = np.array(sidecar["SliceTiming"])
    return times[::-1] if sidecar.get("SliceEncodingDirection") == "k-" else times


def at(sidecar, name, volume):
    """A field's value for one volume."""
    value = sidecar[name]
    return value[volume] if isinstance(value, list) else value


def relative_difference(sidecar, pulses, volume, cbf):
    """ΔM/M0 of one volume as physics has it, written here a second time from the sidecar."""
    delay = at(sidecar, "PostLabelingDelay", volume) + slice_delays_s(sidecar)
    inversion = {"PCASL": 0.85, "CASL": 0.68, "PASL": 0.98}.get(sidecar["ArterialSpinLabelingType"], 0.85)
    blood_t1_s = 1.35 if sidecar["MagneticFieldStrength"] == 1.5 else 1.65
    scale = inversion * 0.95**pulses * cbf / (6000 * 0.9)
    if sidecar["ArterialSpinLabelingType"] != "PASL":
        constants = {"efficiency": inversion * 0.95**pulses, "blood_t1_s": blood_t1_s}
        return physics.pcasl_difference(cbf, TRUE_ATT_S, delay, at(sidecar, "LabelingDuration", volume), **constants)
    first = np.ravel(sidecar["BolusCutOffDelayTime"])[0]
    bolus = delay[0] - first if sidecar["BolusCutOffTechnique"] == "QUIPSS" else first
    return 2 * scale * bolus * np.exp(-delay / blood_t1_s)


def volumes_of(variant, ball):
    """The series (x, y, z, t) with a little noise."""
    sidecar, rng = variant.sidecar, np.random.default_rng(0)
    pulses = 5 if sidecar["Manufacturer"] == "GE" else 2 * sidecar["BackgroundSuppression"]
    static = 0.3 * ball.m0 if sidecar["BackgroundSuppression"] else saturated(ball.m0, at(sidecar, REPETITION, 1))
    images = []
    for volume, kind in enumerate(variant.types):
        difference = ball.m0 * relative_difference(sidecar, pulses, volume, ball.cbf)
        calibration = saturated(ball.m0, at(sidecar, REPETITION, volume))
        images.append({"control": static, "label": static - difference, "deltam": difference,
                       "m0scan": calibration}.get(kind, 0.5 * ball.m0))  # fmt: skip
    return variant.stored[0] * (np.stack(images, axis=-1) + rng.normal(0, 0.02, (*ball.m0.shape, len(images))))


def write(variant, ball, folder):
    """The variant's files; returns the lists that the first rule gets."""
    asl, m0 = folder / "sub-01_asl.nii.gz", folder / "sub-01_m0scan.nii.gz"
    save_image(asl, volumes_of(variant, ball), ball.affine)
    content = {name: value for name, value in variant.sidecar.items() if value is not None}
    (folder / "sub-01_asl.json").write_text(json.dumps(content))
    (folder / "sub-01_aslcontext.tsv").write_text("\n".join(["volume_type", *variant.types]) + "\n")
    if variant.m0 is None:
        return [asl], []
    repetition_time_s = variant.m0.get("RepetitionTimePreparation", variant.m0.get("RepetitionTime"))
    save_image(m0, variant.stored[1] * saturated(ball.m0, repetition_time_s), ball.affine)
    (folder / "sub-01_m0scan.json").write_text(json.dumps(variant.m0))
    return [asl], [m0]


def perfusion(variant, ball, folder):
    """CBF by the functions of the rules, the anatomy being the ball's own; one delay, or several fitted jointly."""
    settings = config.check_block("asl", variant.settings)
    raw, m0, labelling = folder / "raw.nii.gz", folder / "m0.nii.gz", folder / "labelling.json"
    prepare_asl_files(*write(variant, ball, folder), settings, series=raw, m0scan=m0, labelling=labelling)
    out = {"preproc": folder / "preproc.nii.gz", "m0": folder / "aligned.nii.gz", "motion": folder / "motion.tsv"}
    correct_asl_motion_files(raw, m0, labelling, 1, **out)
    found, timing, calibration = load_image(out["preproc"]).data, load_labelling(labelling), load_image(out["m0"])
    return perfusion_of(found, calibration, ball.mask, ball.tissues, timing, settings).cbf


@pytest.mark.parametrize("variant", [one for one in VARIANTS if not one.reason], ids=lambda variant: variant.name)
def test_variant_gives_the_true_perfusion(variant, ball, tmp_path):
    cbf = perfusion(variant, ball, tmp_path)
    found = pure_tissue_cbf(cbf, ball.mask, ball.tissues)["GM"]
    assert found == pytest.approx(TRUE_GM_CBF, rel=0.05)


@pytest.mark.parametrize("variant", [one for one in VARIANTS if one.reason], ids=lambda variant: variant.name)
def test_variant_is_refused_for_one_clear_reason(variant, ball, tmp_path):
    with pytest.raises(DataError, match=rf"(?s){variant.reason}"):
        perfusion(variant, ball, tmp_path)


def test_the_table_covers_makers_readouts_and_kinds_of_m0():
    makers = {one.sidecar["Manufacturer"] for one in VARIANTS}
    readouts = {one.sidecar["MRAcquisitionType"] for one in VARIANTS}
    calibrations = {one.sidecar["M0Type"] for one in VARIANTS}
    assert (makers, readouts) == ({"GE", "Siemens", "Philips"}, {"2D", "3D"})
    assert calibrations == {"Separate", "Included", "Estimate", "Absent"}
    assert len({one.name for one in VARIANTS}) == len(VARIANTS) >= 40
