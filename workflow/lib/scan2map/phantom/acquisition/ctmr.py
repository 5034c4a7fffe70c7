"""CT of the head in its own frame, and the clinical MRI that goes with it: FLAIR, ADC map, expert lesion mask."""

from __future__ import annotations

import numpy as np
import torch

from scan2map.phantom.acquisition.dwi import DiffusionHead
from scan2map.phantom.acquisition.grid import HeadSampler
from scan2map.phantom.acquisition.scan import Scan, Scanner, grid_record
from scan2map.phantom.deformation import rigid_matrix
from scan2map.phantom.series import Series
from scan2map.physics.noise import rician
from scan2map.physics.relaxation import inversion_recovery_spin_echo

GAIN = 8000.0  # stored units per unit of proton density: FLAIR of the brain near 1500 of 4095
AIR_HU, LOWEST_HU, HIGHEST_HU = -1000.0, -1024.0, 3071.0
ADC_SCALE = 1e6  # stored in 1e-6 mm²/s, as scanners do
MASK_SCALE = 1000.0


def scan_ct(scanner: Scanner) -> tuple[Series, dict]:
    """CT in HU with Gaussian noise; the head lies elsewhere than in the MRI session."""
    settings = scanner.settings["ctmr"]["ct"]
    sampler = scanner.sampler(settings)
    generator = scanner.generator("ct_head", "place")
    shift, turn = settings["offset_mm"] * generator.normal(0, 1, 3), settings["offset_deg"] * generator.normal(0, 1, 3)
    place = rigid_matrix(shift, turn, scanner.brain_centre_mm) @ scanner.pose
    # Relative to air, so that what lies outside the subject's grid is air too.
    ideal = sampler.read_array(scanner.subject.hounsfield - AIR_HU, place) + AIR_HU
    sigma = settings["noise_hu"] * bool(scanner.settings["noise"]["enabled"])
    noise = scanner.generator("ct_head", "noise").standard_normal(ideal.shape, dtype=np.float32)
    data = np.clip(np.round(ideal + np.float32(sigma) * noise), LOWEST_HU, HIGHEST_HU)
    record = {"grid": grid_record(sampler.grid), "noise_hu": sigma, "head_to_world": place.tolist()}
    return Series(50, "ct_head", data, sampler.grid.affine, kind="ct", is_3d=False, sequence_name="ct"), record


def scan_flair(scanner: Scanner, sampler: HeadSampler, place: np.ndarray) -> tuple[Series, dict]:
    """Fluid-attenuated inversion recovery."""
    settings, subject = scanner.settings["ctmr"], scanner.subject
    timing = [settings["flair"][key] for key in ("repetition_time_s", "inversion_time_s", "echo_time_s")]
    values = {
        name: GAIN
        * float(inversion_recovery_spin_echo(subject.pd[name], np.float64(t1), np.float64(subject.t2_s[name]), *timing))
        for name, t1 in subject.t1_s.items()
    }
    ideal = np.abs(sampler.read_array(scanner.tissue_signal(values).numpy(), place))
    sigma = scanner.noise_sigma(ideal, sampler.read_array(subject.fractions["wm"], place), settings["snr"])
    data = rician(ideal * scanner.sensitivity(sampler.grid.world_mm()), sigma, scanner.generator("flair_3d", "noise"))
    series = Series(
        40, "flair_3d", data, sampler.grid.affine, repetition_time_s=timing[0], inversion_time_s=timing[1],
        echo_time_s=timing[2], flip_angle_deg=120.0, sequence_name="spcir",
    )  # fmt: skip
    return series, {"grid": grid_record(sampler.grid), "noise_sigma": sigma, "head_to_world": place.tolist()}


def map_adc(scanner: Scanner, sampler: HeadSampler, place: np.ndarray) -> Series:
    """ADC map of the scanner, 1e-6 mm²/s: b = 0 and three orthogonal directions, −mean ln(S/S0)/b, with their noise.

    The scanner's own reconstruction has removed distortion and motion.
    """
    settings = scanner.settings["ctmr"]
    b_value, echo_s = settings["adc"]["b_value_s_per_mm2"], settings["adc"]["echo_time_s"]
    head = DiffusionHead(scanner.subject, echo_s)
    signals = torch.stack(
        [head.signal(0, np.zeros(3)), *(head.signal(b_value, axis @ place[:3, :3]) for axis in np.eye(3))]
    )
    ideal = sampler.read(signals, place).numpy()
    white = sampler.read_array(scanner.subject.fractions["wm"], place)
    sigma = scanner.noise_sigma(ideal[0], white, settings["snr"])
    noisy = np.maximum(rician(ideal, sigma, scanner.generator("adc_map", "noise")), 1e-3)
    adc = -np.log(noisy[1:] / noisy[0]).mean(0) / b_value
    inside = ideal[0] > 0.1 * ideal[0][white > 0.5].mean()  # scanners blank the background of a computed map
    data = np.where(inside, np.clip(adc * ADC_SCALE, 0, 4095), 0).astype(np.float32)
    return Series(41, "adc_map", data, sampler.grid.affine, is_3d=False, echo_time_s=echo_s, sequence_name="ep2d_diff")


def draw_lesion(scanner: Scanner, sampler: HeadSampler, place: np.ndarray) -> Series:
    """The expert's lesion mask: voxels more than half lesion, 0 or 1000; empty where there is no lesion."""
    share = sampler.read_array(scanner.subject.fractions["lesion"], place)
    mask = np.where(share > 0.5, MASK_SCALE, 0).astype(np.float32)
    return Series(42, "lesion_mask", mask, sampler.grid.affine, is_3d=False, sequence_name="roi")


def acquire(scanner: Scanner) -> Scan:
    """FLAIR, ADC map and lesion mask on one grid and head position, and CT on its own."""
    sampler = scanner.sampler(scanner.settings["ctmr"])
    place = scanner.resting_place("flair_3d")
    flair, flair_record = scan_flair(scanner, sampler, place)
    ct, ct_record = scan_ct(scanner)
    return Scan(
        [flair, map_adc(scanner, sampler, place), draw_lesion(scanner, sampler, place), ct],
        parameters={"flair_3d": flair_record, "ct_head": ct_record},
    )
