"""A head in an echo-planar scan, made without any code of the solver: spins are moved and counted.

The head is nilearn's ICBM152 tissue maps with T2-like contrast and a scalp; the field is a sum of Gaussians with a
closed form. Each voxel of the head is cut into spins along the phase encoding, every spin is displaced by its own
field, and its signal is shared between the two nearest fine cells (mass is conserved). Cells are then averaged into
voxels and Rician noise is added.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import affine_transform, binary_dilation, binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

SPINS_PER_CELL = 4
CELLS_PER_VOXEL = 2
VOXEL_MM = 6.0
SHAPE = (32, 40, 30)  # voxels


@dataclass(frozen=True)
class Scan:
    """Images (n, x, y, z) with what is true about them."""

    images: np.ndarray
    affine: np.ndarray
    field_hz: np.ndarray
    brain: np.ndarray
    directions: tuple[str, ...]
    times_s: tuple[float, ...]


def fine_grid():
    """Shape and affine of the cells that the head is made of."""
    cell = VOXEL_MM / CELLS_PER_VOXEL
    shape = np.array(SHAPE) * CELLS_PER_VOXEL
    affine = np.diag([cell, cell, cell, 1.0])
    affine[:3, 3] = np.array([0.0, -18.0, 10.0]) - cell * (shape - 1) / 2
    return tuple(shape), affine


def voxel_affine():
    """Affine of the images: one voxel covers CELLS_PER_VOXEL cells along each axis."""
    _, fine = fine_grid()
    affine = fine @ np.diag([CELLS_PER_VOXEL] * 3 + [1.0])
    affine[:3, 3] = fine[:3, 3] + (CELLS_PER_VOXEL - 1) / 2 * np.diag(fine)[:3]
    return affine


@cache
def head():
    """Proton signal and brain of the head on the fine grid."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    shape, affine = fine_grid()
    maps = []
    for load in (load_mni152_gm_template, load_mni152_wm_template, load_mni152_template):
        image = load(resolution=2)
        to_source = np.linalg.inv(image.affine) @ affine
        data = np.clip(image.get_fdata(), 0, None)
        maps.append(affine_transform(data, to_source[:3, :3], to_source[:3, 3], shape, order=1))
    grey, white = maps[0] / maps[0].max(), maps[1] / maps[1].max()
    brain = maps[2] > 0.05 * maps[2].max()
    fluid = np.clip(brain - grey - white, 0, 1)
    scalp = binary_dilation(brain, iterations=6) & ~binary_dilation(brain, iterations=4)
    return gaussian_filter(0.8 * grey + 0.6 * white + 1.4 * fluid + 0.35 * scalp, 0.5), brain


def field_shape(points_mm):
    """A smooth field over world positions (3, ...) in RAS mm; its unit is free."""
    x, y, z = points_mm

    def blob(centre, width, height):
        distance = sum(((p - c) / w) ** 2 for p, c, w in zip((x, y, z), centre, width, strict=True))
        return height * np.exp(-distance / 2)

    sinus = blob((0, 50, -20), (18, 15, 14), 1.0)
    ears = blob((52, -20, -28), (14, 14, 12), -0.75) + blob((-52, -20, -28), (14, 14, 12), -0.7)
    return sinus + ears + blob((0, -40, -45), (25, 20, 15), 0.35) + 0.12 * np.sin(x / 35) * np.cos(z / 30)


def positions_mm(shape, affine):
    """World position of every voxel of a grid, (3, x, y, z)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    return np.tensordot(affine[:3, :3], index, 1) + affine[:3, 3].reshape(3, 1, 1, 1)


def to_voxels(cells):
    """Mean of the cells of each voxel."""
    split = [size for length in SHAPE for size in (length, CELLS_PER_VOXEL)]
    return cells.reshape(split).mean(axis=(1, 3, 5))


def rigid(translation_mm, rotation_deg):
    """World matrix of a head motion about the middle of the field of view: R = Rx Ry Rz."""
    shape, affine = fine_grid()
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("XYZ", rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = centre + np.array(translation_mm) - matrix[:3, :3] @ centre
    return matrix


def scatter(signal, shift_cells, axis):
    """Move the signal of every spin along an axis and collect it in cells; both arrays on the fine grid."""
    lines, shifts = np.moveaxis(signal, axis, -1), np.moveaxis(shift_cells, axis, -1)
    shape, length = lines.shape, lines.shape[-1]
    lines, shifts = lines.reshape(-1, length), shifts.reshape(-1, length)
    rows, collected = np.arange(len(lines))[:, None] * length, np.zeros(lines.size)
    for spin in range(SPINS_PER_CELL):
        offset = (spin + 0.5) / SPINS_PER_CELL - 0.5
        place = np.arange(length) + offset
        here = np.clip(place, 0, length - 1)
        low = np.minimum(here.astype(int), length - 2)
        part = here - low
        shift = shifts[:, low] * (1 - part) + shifts[:, low + 1] * part
        mass = (lines[:, low] * (1 - part) + lines[:, low + 1] * part) / SPINS_PER_CELL
        arrives = place + shift
        cell = np.floor(arrives).astype(int)
        for target, share in ((cell, cell + 1 - arrives), (cell + 1, arrives - cell)):
            inside = (target >= 0) & (target < length)
            collected += np.bincount((rows + target)[inside], (mass * share)[inside], collected.size)
    return np.moveaxis(collected.reshape(shape), -1, axis)


def acquire(direction, time_s, amplitude_hz, motion=None):
    """One distorted, moved, noise-free image of the head."""
    shape, affine = fine_grid()
    signal, points = head()[0], positions_mm(shape, affine)
    if motion is not None:
        back = np.linalg.inv(affine) @ np.linalg.inv(motion) @ affine
        signal = affine_transform(signal, back[:3, :3], back[:3, 3], shape, order=3)
        points = np.tensordot(np.linalg.inv(motion)[:3, :3], points, 1) + np.linalg.inv(motion)[:3, 3].reshape(
            3, 1, 1, 1
        )
    sign = -1 if direction.endswith("-") else 1
    shift = sign * time_s * CELLS_PER_VOXEL * amplitude_hz * field_shape(points)
    return to_voxels(scatter(signal, shift, "ijk".index(direction[0])))


def simulate(
    directions=("j-", "j"), times_s=(0.05, 0.05), *, shift_voxels=3.0, snr=20.0, motions=None, gains=None, seed=0
):
    """Several images of the head.

    Args:
        directions: phase encoding of each image.
        times_s: total readout time of each image.
        shift_voxels: largest displacement in the brain at the longest readout time.
        snr: mean brain signal over noise; None for no noise.
        motions: world matrices, one per image.
        gains: intensity factor of each image.
        seed: of the noise.
    """
    brain = to_voxels(head()[1].astype(float)) > 0.5
    shape_field = field_shape(positions_mm(SHAPE, voxel_affine()))
    amplitude = shift_voxels / np.abs(shape_field[brain]).max() / max(times_s)
    motions, gains = motions or [None] * len(directions), gains or [1.0] * len(directions)
    jobs = zip(directions, times_s, motions, gains, strict=True)
    images = [gain * acquire(way, time, amplitude, motion) for way, time, motion, gain in jobs]
    if snr is not None:
        random, sigma = np.random.default_rng(seed), images[0][brain].mean() / snr
        images = [
            np.hypot(im + sigma * random.normal(size=im.shape), sigma * random.normal(size=im.shape)) for im in images
        ]
    return Scan(
        np.stack(images).astype(np.float32),
        voxel_affine(),
        amplitude * shape_field,
        brain,
        tuple(directions),
        tuple(times_s),
    )


def interior(scan):
    """The brain without its outermost voxel."""
    return binary_erosion(scan.brain)
