"""A tiny scanner session written as DICOM by the project's own scanner: what the intake tests convert and break."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scan2map.phantom.scanner import Patient, write_session
from scan2map.phantom.series import AslTiming, Series

PATIENT = Patient("HOSP-778899", "Musterfrau^Erika", "19640812", "F", 56)
SHAPE, SHAPE_3D = (12, 12, 6), (14, 16, 10)
TILT_DEG = 12.0
COS, SIN = np.cos(np.radians(TILT_DEG)), np.sin(np.radians(TILT_DEG))
TILT = np.array([[1, 0, 0, 0], [0, COS, -SIN, 0], [0, SIN, COS, 0], [0, 0, 0, 1]])  # oblique slices
AFFINE = TILT @ np.array([[3.0, 0, 0, -18], [0, 3, 0, -18], [0, 0, 4, -12], [0, 0, 0, 1]])
AFFINE_3D = np.array([[2.0, 0, 0, -14], [0, 2, 0, -16], [0, 0, 2, -10], [0, 0, 0, 1]])
B_VALUES = np.array([0, 1000, 1000, 1000, 1000, 1000, 1000, 0])
EPI = {"affine": AFFINE, "is_3d": False, "total_readout_time_s": 0.03, "sequence_name": "ep2d"}


def noise(shape, number: int) -> np.ndarray:
    """Reproducible positive image values; the same number gives the same values."""
    return np.random.default_rng(number).integers(50, 900, shape).astype(np.float32)


def b_vectors() -> np.ndarray:
    """Unit vectors, zero where b = 0."""
    vectors = np.random.default_rng(7).normal(size=(len(B_VALUES), 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(B_VALUES[:, None] > 0, vectors, 0)


def asl_timing(labelling: str, delays_s: tuple[float, ...]) -> AslTiming:
    """Control and label at each delay in turn."""
    context = ("control", "label") * len(delays_s)
    return AslTiming(labelling, context, tuple(d for delay in delays_s for d in (delay, delay)), 1.8, 2)


def labelled(number: int, description: str, labelling: str, delays_s: tuple[float, ...]) -> Series:
    """An ASL series of one control-label pair per delay."""
    data = noise((*SHAPE, 2 * len(delays_s)), number)
    timing = asl_timing(labelling, delays_s)
    return Series(number, description, data, phase_encoding="j-", repetition_time_s=4.8, asl=timing, **EPI)


def diffusion(number: int, description: str, direction: str, b_values=B_VALUES) -> Series:
    """A diffusion series; only its first volumes when fewer b-values are given."""
    count, weighted = len(b_values), np.asarray(b_values) > 0
    return Series(
        number, description, noise((*SHAPE, count), number), phase_encoding=direction, repetition_time_s=3.0,
        b_values_s_per_mm2=np.asarray(b_values), b_vectors=b_vectors()[:count] * weighted[:, None], **EPI,
    )  # fmt: skip


def structural(number: int, description: str, **kwargs) -> Series:
    """A 3-D series."""
    return Series(number, description, noise(SHAPE_3D, number), AFFINE_3D, repetition_time_s=2.3, **kwargs)


def core_series() -> list[Series]:
    """What a session needs for T1w, DWI and ASL, and a localizer."""
    return [
        structural(1, "localizer"),
        structural(2, "t1w_mprage", inversion_time_s=0.9),
        diffusion(10, "dwi_dir-AP", "j-"),
        diffusion(11, "dwi_b0_dir-PA", "j", b_values=[0, 0]),
        labelled(30, "pcasl_singlepld", "PCASL", (1.8, 1.8, 1.8)),
        Series(33, "asl_m0scan", noise(SHAPE, 33), phase_encoding="j-", repetition_time_s=10.0, **EPI),
    ]


def further_series() -> list[Series]:
    """The other series that the study map knows, and one that it does not."""
    cycles = noise((*SHAPE_3D, 12), 20)
    phases = np.random.default_rng(21).uniform(-3, 3, (*SHAPE_3D, 12)).astype(np.float32)
    inversion = {"inversion_time_s": 0.7}
    return [
        structural(3, "mp2rage_INV1", **inversion),
        Series(4, "mp2rage_INV1_PHASE", phases[..., 0], AFFINE_3D, "phase", repetition_time_s=5.0, **inversion),
        Series(20, "bssfp_pc12", cycles, AFFINE_3D, repetition_time_s=0.0048),
        Series(21, "bssfp_pc12_PHASE", phases, AFFINE_3D, "phase", repetition_time_s=0.0048),
        labelled(31, "pcasl_multipld", "PCASL", (0.5, 1.0, 1.5)),
        labelled(32, "vsasl_multipld", "VSASL", (0.5, 1.0)),
        Series(40, "ct_head", noise(SHAPE_3D, 40) - 500, AFFINE_3D, "ct"),
        structural(41, "flair_3d"),
        structural(42, "adc_map", image_type=("DERIVED", "PRIMARY", "ADC", "ND")),
        Series(43, "lesion_mask", (noise(SHAPE_3D, 43) > 800).astype(np.float32), AFFINE_3D),
        structural(70, "weird_new_sequence"),
        structural(71, "dwi_dir-AP_FA", image_type=("DERIVED", "PRIMARY", "DIFFUSION", "FA")),
    ]


def write(folder: Path, series: list[Series], patient: Patient = PATIENT) -> Path:
    """Write a session and return its folder."""
    write_session(series, folder, patient)
    return folder
