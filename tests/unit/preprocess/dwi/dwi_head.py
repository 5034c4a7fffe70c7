"""A head for tests whose tensor field is a formula of the world position, so that moving it costs no accuracy."""

from dataclasses import dataclass

import numpy as np
import torch

from scan2map.preprocess.dwi.eddy import centred_mm, eddy_field
from scan2map.preprocess.dwi.gradients import GradientTable, bvec_to_world
from scan2map.preprocess.dwi.motion import Scan
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix

SHAPE = (32, 38, 24)
AFFINE = np.array([[-4.0, 0, 0, 62], [0, 4.0, 0, -74], [0, 0, 4.0, -46], [0, 0, 0, 1]])
READOUT_S = 0.05
RADII_MM = np.array([52, 62, 40])
INVERSION_STEPS = 6


def directions(count, seed=0):
    """Well spread axes: a golden spiral over the half sphere, in random order and with random signs."""
    rank = np.arange(count) + 0.5
    height, turn = 1 - rank / count, np.pi * (1 + 5**0.5) * rank
    radius = np.sqrt(1 - height**2)
    rng = np.random.default_rng(seed)
    axes = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), height])
    return rng.choice([-1, 1], count)[:, None] * rng.permutation(axes)


def _waves(world, seed, count=12, shortest_mm=14.0, longest_mm=50.0):
    rng = np.random.default_rng(seed)
    way = rng.normal(size=(count, 3))
    way *= (2 * np.pi / rng.uniform(shortest_mm, longest_mm, count) / np.linalg.norm(way, axis=1))[:, None]
    phase = rng.uniform(0, 2 * np.pi, count)
    return np.cos(world @ way.T + phase).sum(-1) / np.sqrt(count)


def _step(value, width):
    return 0.5 * (1 + np.tanh(value / width))


def fractions(world):
    """Brain, white matter, fluid at world positions (n, 3), 0 to 1; white matter and fluid are shares of the brain."""
    brain = _step(1 - np.linalg.norm(world / RADII_MM, axis=-1), 0.06)
    fluid = _step(0.32 - np.linalg.norm((world - [0, -5, 4]) / np.array([30, 55, 24]), axis=-1), 0.06)
    return brain, _step(_waves(world, 1) + 0.2, 0.3) * (1 - fluid), fluid


def tissue(world):
    """Signal without weighting and tensor (n, 3, 3) in mm2/s at world positions (n, 3)."""
    brain, white, fluid = fractions(world)
    fibre = np.stack([_waves(world, seed, 6, 40, 80) for seed in (2, 3, 4)], axis=-1)
    fibre /= np.linalg.norm(fibre, axis=-1, keepdims=True) + 1e-9
    along, across = 1.3e-3 * white, 0.5e-3 * white
    isotropic = 0.85e-3 * (1 - white - fluid) + 2.8e-3 * fluid + across
    tensor = isotropic[:, None, None] * np.eye(3) + (along - across)[:, None, None] * fibre[:, :, None] * fibre[:, None]
    signal = 1000 * brain * (0.7 * white + 0.95 * (1 - white - fluid) + 1.9 * fluid)
    return signal, tensor


def world_grid(shape=SHAPE, affine=AFFINE):
    """World position of every voxel, (n, 3)."""
    voxels = np.indices(shape).reshape(3, -1).T
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def field_at(world):
    """A smooth susceptibility field, Hz."""
    return 25 * np.exp(-(((world - [0, 45, -25]) / 30) ** 2).sum(-1))


@dataclass
class Simulated:
    """A scan and its truth."""

    scan: Scan
    mask: np.ndarray
    rigid: np.ndarray
    parameters: np.ndarray
    eddy: np.ndarray


def simulate(b_values, gradients, parameters, *, eddy=None, phase_encoding=None, field=True, noise=0.0, seed=0):
    """Measure the head volume by volume at the exact positions.

    Args:
        b_values: (t,).
        gradients: table in the scanner, or None for spread directions.
        parameters: (t, 6) head motion, mm and rad about the centre of the grid.
        eddy: (t, 10) eddy-current coefficients.
        phase_encoding: per volume.
        field: with the susceptibility field.
        noise: standard deviation of Rician noise.
        seed: of the noise.
    """
    b_values = np.asarray(b_values, dtype=float)
    count = len(b_values)
    if gradients is None:
        world = np.zeros((count, 3))
        for value in np.unique(b_values[b_values > 0]):
            world[b_values == value] = directions(int((b_values == value).sum()), seed=int(value))
        gradients = GradientTable(b_values, world @ bvec_to_world(AFFINE))
    eddy = np.zeros((count, 10)) if eddy is None else eddy
    ways = phase_encoding or ("j",) * count
    centre = grid_centre_mm(SHAPE, AFFINE)
    rigid = np.array([rigid_matrix(one, centre) for one in parameters])
    volumes = np.stack([_measure(gradients, AFFINE, rigid[t], eddy[t], ways[t], t, field) for t in range(count)])
    rng = np.random.default_rng(seed)
    if noise:
        volumes = np.hypot(volumes + noise * rng.normal(size=volumes.shape), noise * rng.normal(size=volumes.shape))
    field_hz = field_at(world_grid()).reshape(SHAPE) if field else np.zeros(SHAPE)
    scan = Scan(
        torch.as_tensor(volumes, dtype=torch.float32),
        AFFINE,
        gradients,
        tuple(ways),
        (READOUT_S,) * count,
        torch.as_tensor(field_hz, dtype=torch.float32),
    )
    mask = np.linalg.norm(world_grid() / (RADII_MM + 2), axis=-1).reshape(SHAPE) < 1
    return Simulated(scan, mask, rigid, np.asarray(parameters, dtype=float), eddy)


def _shift(scanner_world, rigid, eddy, field):
    """Off-resonance at positions in the scanner, Hz."""
    head = (np.linalg.inv(rigid) @ np.column_stack([scanner_world, np.ones(len(scanner_world))]).T)[:3].T
    voxels = torch.as_tensor(((scanner_world - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T).T)
    position = centred_mm(voxels, SHAPE, np.linalg.norm(AFFINE[:3, :3], axis=0))
    return field * field_at(head) + eddy_field(eddy, position).numpy(), head


def _measure(gradients, affine, rigid, eddy, way, index, field):
    seen = world_grid()
    near = np.linalg.norm(seen / (RADII_MM + 12), axis=-1) < 1
    seen = seen[near]
    sign = (-1 if way.endswith("-") else 1) * READOUT_S
    source = seen
    for _ in range(INVERSION_STEPS):
        source = seen - _shift(source, rigid, eddy, field)[0][:, None] * sign * affine[:3, 1]
    small = 1e-3 * affine[:3, 1]
    ahead, behind = (_shift(source + step * small, rigid, eddy, field)[0] for step in (1, -1))
    stretch = 1 + (ahead - behind) / 2e-3 * sign
    signal, tensor = tissue(_shift(source, rigid, eddy, field)[1])
    direction = rigid[:3, :3].T @ gradients.world_directions(affine)[index]
    decay = np.exp(-gradients.b_values[index] * np.einsum("i,nij,j->n", direction, tensor, direction))
    volume = np.zeros(near.shape)
    volume[near] = signal * decay / stretch
    return volume.reshape(SHAPE)


def true_tensor():
    """Tensor elements (x, y, z, 6) of the head in its reference position."""
    tensor = tissue(world_grid())[1]
    return tensor[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)].reshape(*SHAPE, 6)
