"""ASL metadata of many scanners: each variant is read, or refused for one clear reason."""

import json
from dataclasses import replace

import pytest

from scan2map import config
from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.preprocess.asl.metadata import Labelling, load_labelling, read_labelling, save_labelling

SETTINGS = config.check_block("asl", {})
PAIRS = ["control", "label"] * 2
SIEMENS_2D = {
    "ArterialSpinLabelingType": "PCASL", "PostLabelingDelay": 1.8, "LabelingDuration": 1.8, "M0Type": "Separate",
    "BackgroundSuppression": False, "MRAcquisitionType": "2D", "SliceTiming": [0, 0.04, 0.08],
    "MagneticFieldStrength": 3, "RepetitionTimePreparation": 4.8,
}  # fmt: skip
GE_3D = SIEMENS_2D | {
    "MRAcquisitionType": "3D", "SliceTiming": None, "BackgroundSuppression": True,
    "BackgroundSuppressionNumberPulses": 4, "M0Type": "Included", "PostLabelingDelay": 2.025, "LabelingDuration": 1.45,
}  # fmt: skip
PULSED = SIEMENS_2D | {
    "ArterialSpinLabelingType": "PASL", "LabelingDuration": None, "BolusCutOffFlag": True,
    "BolusCutOffDelayTime": 0.7, "BolusCutOffTechnique": "QUIPSSII", "M0Type": "Absent",
}  # fmt: skip
VARIANTS = [
    # name, sidecar, volume types, separate M0, expected attributes
    ("Siemens 2D, M0 apart", SIEMENS_2D, PAIRS, True,
     {"kind": "PCASL", "slice_delays_s": (0, 0.04, 0.08), "m0_repetition_time_s": 10.0, "delays_s": (1.8,) * 4}),
    ("GE 3D, differences and M0 in one file", GE_3D, ["deltam", "m0scan"], False,
     {"slice_delays_s": None, "suppression_pulses": 4, "delays_s": (2.025, 0.0), "m0_repetition_time_s": 4.8}),
    ("Philips 2D, M0 first", SIEMENS_2D | {"M0Type": "Included"}, ["m0scan", *PAIRS], False,
     {"m0_type": "Included", "delays_s": (0, 1.8, 1.8, 1.8, 1.8)}),
    ("delay per volume, zero for M0", SIEMENS_2D | {"M0Type": "Included", "PostLabelingDelay": [0, 1.8, 1.8, 1.8, 1.8]},
     ["m0scan", *PAIRS], False, {"labelled_delays_s": (1.8,)}),
    ("repetition time per volume", SIEMENS_2D | {"M0Type": "Included", "RepetitionTimePreparation": [8, 4, 4, 4, 4]},
     ["m0scan", *PAIRS], False, {"m0_repetition_time_s": 8.0}),
    ("several delays", SIEMENS_2D | {"PostLabelingDelay": [1.0, 1.0, 2.0, 2.0]}, PAIRS, True,
     {"labelled_delays_s": (1.0, 2.0)}),
    ("PASL with QUIPSS II, no M0", PULSED, PAIRS, False, {"kind": "PASL", "duration_s": 0.7, "m0_type": "Absent"}),
    ("PASL with Q2TIPS", PULSED | {"BolusCutOffTechnique": "Q2TIPS", "BolusCutOffDelayTime": [0.7, 1.2]}, PAIRS, False,
     {"duration_s": 0.7}),
    ("PASL with QUIPSS: the slices are saturated", PULSED | {"BolusCutOffTechnique": "QUIPSS"}, PAIRS, False,
     {"duration_s": pytest.approx(1.1)}),
    ("several label durations", SIEMENS_2D | {"LabelingDuration": [1.8, 1.8, 1.0, 1.0]}, PAIRS, True,
     {"durations_s": (1.8, 1.8, 1.0, 1.0)}),
    ("multiband readout", SIEMENS_2D | {"SliceTiming": [0, 0.04, 0], "MultibandAccelerationFactor": 2}, PAIRS, True,
     {"slice_delays_s": (0, 0.04, 0)}),
    ("pulses counted by their times", SIEMENS_2D | {"BackgroundSuppression": True,
     "BackgroundSuppressionPulseTime": [1.1, 2.4]}, PAIRS, True, {"suppression_pulses": 2}),
    ("velocity-selective", SIEMENS_2D | {"ArterialSpinLabelingType": "VSASL", "LabelingDuration": None}, PAIRS, True,
     {"kind": "VSASL", "durations_s": (0, 0, 0, 0), "delays_s": (1.8,) * 4}),
    ("a volume that is none of it", SIEMENS_2D, [*PAIRS, "n/a"], True, {"delays_s": (1.8,) * 4 + (0.0,)}),
    ("echo time for each volume", SIEMENS_2D | {"EchoTime": [0.012] * 4}, PAIRS, True, {"echo_time_s": 0.012}),
    ("M0 as one number", SIEMENS_2D | {"M0Type": "Estimate", "M0Estimate": 1200}, PAIRS, False,
     {"m0_estimate": 1200.0, "m0_repetition_time_s": None}),
    ("slices from top to bottom", SIEMENS_2D | {"SliceEncodingDirection": "k-"}, PAIRS, True,
     {"slice_delays_s": (0.08, 0.04, 0)}),
    ("slice times that start late", SIEMENS_2D | {"SliceTiming": [1.8, 1.9, 2.0]}, PAIRS, True,
     {"slice_delays_s": pytest.approx((0, 0.1, 0.2))}),
    ("measured efficiency", SIEMENS_2D | {"LabelingEfficiency": 0.72}, PAIRS, True, {"efficiency": 0.72}),
]  # fmt: skip
REFUSED = [
    # what is changed, volume types, separate M0, words of the message
    ({"PostLabelingDelay": 0}, PAIRS, True, "PostLabelingDelay.*found: 0"),
    ({"PostLabelingDelay": 1800}, PAIRS, True, "PostLabelingDelay.*at most 10 s"),
    ({"PostLabelingDelay": [1.8, 1.8]}, PAIRS, True, "one for each of the 4 volumes"),
    ({"PostLabelingDelay": [1.8, 0, 1.8, 1.8]}, PAIRS, True, "above 0"),
    ({"PostLabelingDelay": None}, PAIRS, True, "PostLabelingDelay.*found: nothing"),
    ({"LabelingDuration": 0}, PAIRS, True, "LabelingDuration"),
    ({"LabelingDuration": [1.8, 1.8]}, PAIRS, True, "LabelingDuration.*one for each of the 4 volumes"),
    ({"PostLabelingDelay": 3.5}, PAIRS, True, "RepetitionTimePreparation.*at least 5.3 s"),
    ({"RepetitionTimePreparation": [4.8, 4.8]}, PAIRS, True, "RepetitionTimePreparation.*4 volumes"),
    ({"BackgroundSuppression": None}, PAIRS, True, "BackgroundSuppression.*true or false"),
    ({"BackgroundSuppression": True, "BackgroundSuppressionPulseTime": [1.0, 2.0],
      "BackgroundSuppressionNumberPulses": 4}, PAIRS, True, "BackgroundSuppressionPulseTime.*4 times"),
    ({"SliceTiming": [0.0, 0.0, 0.1]}, PAIRS, True, "SliceTiming.*at most 1 slices at one time"),
    ({"SliceTiming": [0.0, 0.0, 0.0], "MultibandAccelerationFactor": 2}, PAIRS, True, "at most 2 slices.*found 3"),
    ({"EchoTime": 12}, PAIRS, True, "EchoTime.*at most 0.5 s"),
    ({"EchoTime": 0}, PAIRS, True, "EchoTime.*above 0"),
    ({"EchoTime": [0.01, 0.02, 0.01, 0.02]}, PAIRS, True, "EchoTime.*one time"),
    (PULSED | {"BolusCutOffTechnique": None}, PAIRS, False, "BolusCutOffTechnique.*QUIPSS, QUIPSSII, Q2TIPS"),
    (PULSED | {"BolusCutOffDelayTime": 0}, PAIRS, False, "BolusCutOffDelayTime.*above 0"),
    (PULSED | {"BolusCutOffDelayTime": 700}, PAIRS, False, "BolusCutOffDelayTime.*at most 1.75 s"),
    (PULSED | {"BolusCutOffTechnique": "QUIPSS", "BolusCutOffDelayTime": 1.8}, PAIRS, False, "at most 1.75 s"),
    ({"ArterialSpinLabelingType": "FAIR"}, PAIRS, True, "ArterialSpinLabelingType.*PCASL, CASL, PASL"),
    ({"M0Type": "Included"}, PAIRS, False, "has not an m0scan volume"),
    ({"M0Type": "Separate"}, PAIRS, False, "has not a separate M0 image"),
    ({"M0Type": "Estimate"}, PAIRS, False, "has not M0Estimate"),
    ({"M0Type": "somewhere"}, PAIRS, False, "M0Type.*Separate, Included, Estimate, Absent"),
    ({"BackgroundSuppression": True}, PAIRS, True, "BackgroundSuppressionNumberPulses"),
    ({"SliceTiming": None}, PAIRS, True, "SliceTiming.*3 times"),
    ({"SliceTiming": [0, 1]}, PAIRS, True, "SliceTiming"),
    ({"MRAcquisitionType": None, "SliceTiming": None}, PAIRS, True, "MRAcquisitionType.*2D, 3D"),
    ({"MagneticFieldStrength": 0}, PAIRS, True, "MagneticFieldStrength"),
    ({"RepetitionTimePreparation": 0, "M0Type": "Absent"}, PAIRS, False, "RepetitionTimePreparation"),
    ({"LabelingEfficiency": 0}, PAIRS, True, "LabelingEfficiency"),
    ({"ArterialSpinLabelingType": "PASL"}, PAIRS, True, "BolusCutOffFlag"),
    ({}, [*PAIRS[:3], "tag"], True, "Unknown volume type.*tag"),
    ({}, ["cbf"] * 4, True, "no control and label"),
    ({}, PAIRS[:3], True, "3 rows.*4 rows"),
]  # fmt: skip


def write_session(folder, sidecar, types, separate):
    """A session's ASL files (without image data); returns the paths of ASL and M0."""
    asl = folder / "sub-01_asl.nii.gz"
    (folder / "sub-01_asl.json").write_text(json.dumps({k: v for k, v in sidecar.items() if v is not None}))
    (folder / "sub-01_aslcontext.tsv").write_text("\n".join(["volume_type", *types]) + "\n")
    m0 = folder / "sub-01_m0scan.nii.gz"
    if separate:
        save_image(m0, [[[1.0]]], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        (folder / "sub-01_m0scan.json").write_text(json.dumps({"RepetitionTimePreparation": 10.0}))
    return asl, m0 if separate else None


@pytest.mark.parametrize(("name", "sidecar", "types", "separate", "expected"), VARIANTS, ids=[v[0] for v in VARIANTS])
def test_variant_is_read(tmp_path, name, sidecar, types, separate, expected):
    asl, m0 = write_session(tmp_path, sidecar, types, separate)
    found = read_labelling(asl, m0, (2, 2, 3, len(types)), SETTINGS)
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(("change", "types", "separate", "message"), REFUSED, ids=[r[3] for r in REFUSED])
def test_variant_is_refused_with_a_reason(tmp_path, change, types, separate, message):
    asl, m0 = write_session(tmp_path, SIEMENS_2D | change, types, separate)
    with pytest.raises(DataError, match=message):
        read_labelling(asl, m0, (2, 2, 3, 4), SETTINGS)


def test_missing_files_are_named(tmp_path):
    asl, m0 = write_session(tmp_path, SIEMENS_2D, PAIRS, True)
    (tmp_path / "sub-01_aslcontext.tsv").unlink()
    with pytest.raises(DataError, match=r"sub-01_aslcontext\.tsv"):
        read_labelling(asl, m0, (2, 2, 3, 4), SETTINGS)
    (tmp_path / "sub-01_asl.json").unlink()
    with pytest.raises(DataError, match=r"no sidecar.*sub-01_asl\.json"):
        read_labelling(asl, m0, (2, 2, 3, 4), SETTINGS)


def test_settings_fill_what_the_sidecar_lacks(tmp_path):
    change = {"BackgroundSuppression": True, "SliceTiming": None}
    asl, m0 = write_session(tmp_path, SIEMENS_2D | change, PAIRS, True)
    found = read_labelling(asl, m0, (2, 2, 3, 4), SETTINGS | {"suppression_pulses": 3, "slice_timing": "ignore"})
    assert (found.suppression_pulses, found.slice_delays_s) == (3, None)


def test_labelling_survives_its_file(tmp_path):
    labelling = Labelling(
        "PCASL", ("control", "label"), (1.8, 1.8), (1.8, 1.8), (0.0, 0.04), 2, None, "Separate", 10.0, None, 3
    )
    save_labelling(tmp_path / "a.json", labelling)
    assert load_labelling(tmp_path / "a.json") == labelling
    assert labelling.restricted_to([1]).volume_types == ("label",)


def test_several_durations_have_no_single_one(pcasl):
    several = replace(pcasl, durations_s=(1.8, 1.8, 1.0, 1.0))
    assert pcasl.duration_s == 1.8
    with pytest.raises(DataError, match="several label durations"):
        _ = several.duration_s


def test_context_may_have_more_columns(tmp_path):
    asl, m0 = write_session(tmp_path, SIEMENS_2D, PAIRS, True)
    rows = "\n".join(["note\tvolume_type", *(f"x\t{kind}" for kind in PAIRS)])
    (tmp_path / "sub-01_aslcontext.tsv").write_text(rows)
    assert read_labelling(asl, m0, (2, 2, 3, 4), SETTINGS).volume_types == tuple(PAIRS)
