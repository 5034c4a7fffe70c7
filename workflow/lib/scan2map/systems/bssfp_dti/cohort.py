"""Digital subjects as the network learns from them: several bSSFP and several diffusion sessions of each head.

Every session has its own noise, coil phases and head position. The bSSFP sessions go through the preprocessing of the
rail and come onto the diffusion grid; the tensors are fitted as the rail fits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scan2map.config import check_block
from scan2map.images import Image
from scan2map.phantom.acquisition import bssfp
from scan2map.phantom.acquisition.anat import inversion_images, inversion_protocol
from scan2map.phantom.acquisition.dwi import DiffusionHead, noise_free_volumes
from scan2map.phantom.acquisition.gradients import GradientTable, multi_shell_table
from scan2map.phantom.acquisition.grid import AcquisitionGrid, HeadSampler, make_grid
from scan2map.phantom.acquisition.scan import Scanner
from scan2map.phantom.anatomy import subject_grid
from scan2map.phantom.deformation import draw_warp, rigid_matrix
from scan2map.phantom.field import LATTICE_MM
from scan2map.phantom.grid import Grid
from scan2map.phantom.subject import DigitalSubject, build_subject, pose, random_generator
from scan2map.physics.noise import rician
from scan2map.preprocess.anat.template import register_template
from scan2map.preprocess.bssfp.complex_images import correct_global_phase
from scan2map.preprocess.bssfp.steps import on_diffusion_grid
from scan2map.preprocess.dwi.tensor import design_matrix, fit_wls
from scan2map.preprocess.registration import Transform, voxel_centres

TISSUES = ("csf", "gm", "wm")
BRAIN_SHARE = 0.5
MARGIN_MM = 6.0
# What the rail's registration leaves (0.4 mm over the brain on simulated sessions), standard deviation per axis.
REGISTRATION_SD_MM, REGISTRATION_SD_DEG = 0.2, 0.2
DIFFUSIVITY_UNIT = 1e-3  # tensors are kept in 1e-3 mm²/s


def common_grid(subject: DigitalSubject, voxel_size_mm: float) -> AcquisitionGrid:
    """The diffusion grid of a head: its brain with a margin, axes along the head as built."""
    inside = np.argwhere(subject.brain > BRAIN_SHARE)
    size = np.abs(subject.affine[0, 0])
    low, high = (edge * size + subject.affine[:3, 3] for edge in (inside.min(0), inside.max(0)))
    return make_grid([voxel_size_mm] * 3, high - low + 2 * MARGIN_MM, [0, 0, 0], (low + high) / 2)


def _protocol(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The simulated scanner's settings: defaults, with what the system's settings say."""
    own = settings["bssfp"]
    changes = {
        "bssfp": {
            "voxel_size_mm": [own["voxel_size_mm"]] * 3,
            "snr": own["snr"],
            "myelin_water": {"orientation": own["orientation"], "follows_axons": own["myelin_follows_axons"]},
        }
    }
    return check_block("phantom", changes)


def _fitted(signals: np.ndarray, mask: np.ndarray, table: GradientTable) -> np.ndarray:
    """Tensors (6, x, y, z) by the rail's weighted least squares, 1e-3 mm²/s, 0 outside the mask."""
    floor = 1e-3 * np.median(signals[mask][:, table.b_values == 0])
    found = fit_wls(np.maximum(signals[mask], floor), design_matrix(table.b_values, table.b_vectors))[:, :6]
    tensors = np.zeros((6, *mask.shape), np.float32)
    tensors[:, mask] = found.T / DIFFUSIVITY_UNIT
    return tensors


def diffusion_sessions(
    scanner: Scanner, sampler: HeadSampler, mask: np.ndarray, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Measured tensors of every session (sessions, 6, x, y, z), and those of an ideal scan (6, x, y, z).

    Args:
        scanner: the head at rest, axes of the head as built.
        sampler: on the diffusion grid.
        mask: brain.
        settings: the block ``data``.
    """
    protocol = settings["dwi"]
    table = multi_shell_table(
        [{"b_value_s_per_mm2": protocol["b_value_s_per_mm2"], "directions": protocol["directions"]}],
        protocol["b0_volumes"],
    )
    head = DiffusionHead(scanner.subject, scanner.settings["dwi"]["echo_time_s"])
    ideal = noise_free_volumes(head, sampler, table, np.eye(4))
    white = sampler.read_array(scanner.subject.fractions["wm"], np.eye(4))
    sigma = scanner.noise_sigma(ideal[..., table.b_values == 0].mean(-1), white, protocol["snr"])
    measured = [
        _fitted(rician(ideal, sigma, scanner.generator("diffusion", str(session))), mask, table)
        for session in range(protocol["sessions"])
    ]
    return np.stack(measured), _fitted(ideal, mask, table)


def bssfp_session(subject: DigitalSubject, place: np.ndarray, protocol: dict, seed: int, brain: Image) -> np.ndarray:
    """Complex images of one session on the diffusion grid (cycles, x, y, z).

    Args:
        subject: the head.
        place: 4x4, head as built to head as it lies in this session.
        protocol: of the simulated scanner.
        seed: of the session.
        brain: mask on the diffusion grid, world of the head as built.
    """
    scanner = Scanner(subject, place, protocol, seed)
    data, record, affine = bssfp.measure(scanner, protocol["bssfp"], bssfp.protocol_of(protocol["bssfp"]))
    draw = scanner.generator("registration")
    error = rigid_matrix(draw.normal(0, REGISTRATION_SD_MM, 3), draw.normal(0, REGISTRATION_SD_DEG, 3))
    found = Transform(error @ np.mean(record["head_to_world"], axis=0))
    images = on_diffusion_grid(Image(correct_global_phase(data), affine), brain, found)
    return np.moveaxis(images.data, -1, 0)


def t1w_image(scanner: Scanner, sampler: HeadSampler, mask: np.ndarray) -> np.ndarray:
    """The T1w image on the diffusion grid without receive field (the rail corrects it), (x, y, z)."""
    settings = scanner.settings["anat"]
    timing = inversion_protocol(settings["mprage"])
    signal = inversion_images(scanner, timing, settings["mprage"]["echo_time_s"])
    image = sampler.read(signal, np.eye(4))[0].abs().numpy()
    white = sampler.read_array(scanner.subject.fractions["wm"], np.eye(4))
    sigma = scanner.noise_sigma(image, white, settings["snr"])
    return rician(image, sigma, scanner.generator("t1w")) * mask


def registered_points(t1w: np.ndarray, grid: AcquisitionGrid, seed: int) -> np.ndarray:
    """Where each voxel lies in the template by the rail's registration of the T1w image, (3, x, y, z) mm."""
    image = Image(t1w.astype(np.float32), grid.affine)
    settings = check_block("anat", {})["template"] | {"resolution_mm": round(grid.affine[0, 0])}
    found, _ = register_template(image, settings, seed)
    points = found.points(voxel_centres(t1w.shape, grid.affine))
    return np.moveaxis(points.reshape(*t1w.shape, 3), -1, 0)


def real_parts(images: np.ndarray) -> np.ndarray:
    """Real and imaginary part of each cycle in turn: (…, 2·cycles, x, y, z) of (…, cycles, x, y, z)."""
    pairs = np.stack([images.real, images.imag], axis=-4)
    return pairs.reshape(*images.shape[:-4], -1, *images.shape[-3:])


def simulate_cohort_subject(label: str, settings: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All sessions of one subject on its diffusion grid.

    Args:
        label: of the subject.
        settings: the block ``data``.

    Returns:
        Arrays: ``bssfp`` (sessions, 24, x, y, z) real and imaginary parts, ``tensor`` (sessions, 6, x, y, z) measured
        and ``truth`` (6, x, y, z) in 1e-3 mm²/s along the grid, ``t1w``, ``mask`` (x, y, z), ``tissue`` (3, x, y, z):
        CSF, GM, WM, ``template_mm`` and ``registered_mm`` (3, x, y, z): where each voxel lies in the template in truth
        and by registration. And facts: voxel size, affine.
    """
    seed = settings["seed"]
    head = check_block("phantom_subject", settings["head"])
    subject, protocol = build_subject(label, head, seed), _protocol(settings)
    grid = common_grid(subject, settings["voxel_size_mm"])
    sampler = HeadSampler(subject.affine, subject.field_hz.shape, grid)
    scanner = Scanner(subject, np.eye(4), protocol, seed)
    tissue = scanner.tissue_maps(sampler, np.eye(4))
    mask = sum(tissue.values()) > BRAIN_SHARE
    measured, truth = diffusion_sessions(scanner, sampler, mask, settings)
    brain = Image(mask.astype(np.float32), grid.affine)
    sessions = [f"bssfp{number + 1}" for number in range(settings["bssfp"]["sessions"])]
    channels = [
        bssfp_session(
            subject, pose(label, name, seed), protocol, int(random_generator(seed, label, name).integers(2**31)), brain
        )
        for name in sessions
    ]
    warp = draw_warp(subject_grid(LATTICE_MM), head["deformation"], random_generator(seed, label, "deformation"))
    points = warp.template_points(Grid(grid.affine, grid.shape))
    t1w = t1w_image(scanner, sampler, mask)
    arrays = {
        "bssfp": real_parts(np.stack(channels)).astype(np.float16),
        "tensor": measured.astype(np.float16),
        "truth": truth,
        "t1w": t1w.astype(np.float32),
        "mask": mask.astype(np.uint8),
        "tissue": np.stack([tissue[name] for name in TISSUES]).astype(np.float16),
        "template_mm": np.moveaxis(points, -1, 0).astype(np.float32),
        "registered_mm": registered_points(t1w, grid, seed).astype(np.float32),
    }
    return arrays, {"voxel_size_mm": settings["voxel_size_mm"], "affine": grid.affine.tolist()}
