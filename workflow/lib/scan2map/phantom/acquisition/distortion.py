"""What the magnet and the coils do to a measured image: receive field, eddy currents, echo-planar distortion."""

from __future__ import annotations

import numpy as np
import torch

from scan2map.phantom.acquisition.grid import HeadSampler
from scan2map.physics.epi import displacement_voxels, shift_and_stack

RADIUS_MM = 100.0  # positions are given in units of a head's radius
EDDY_TERMS = ("1", "x", "y", "z", "xx", "yy", "zz", "xy", "xz", "yz")


def spatial_basis(position_mm) -> np.ndarray:
    """Constant, linear and quadratic terms of position/100 mm, (..., 10), in the order of ``EDDY_TERMS``."""
    x, y, z = np.moveaxis(np.asarray(position_mm, dtype=np.float32) / np.float32(RADIUS_MM), -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)


def receive_field(position_mm, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Smooth sensitivity of the receive coils, fixed to the scanner, mean of about 1.

    exp(strength · q) with q a random polynomial of second degree that is brighter towards the coil.

    Args:
        position_mm: (..., 3) world positions relative to the isocentre.
        strength: 0 for none; 0.3 gives about ±30 %.
        generator: source of randomness.
    """
    weights = generator.normal(0, 0.3, 10)
    weights[0], weights[4:7] = -0.4, weights[4:7] + 0.5  # coils surround the head: the middle is darker
    return np.exp(strength * (spatial_basis(position_mm) @ weights.astype(np.float32)))


def eddy_coefficients(b_values, b_vectors, settings: dict, generator: np.random.Generator) -> np.ndarray:
    """Field of the eddy currents of each diffusion gradient as coefficients of the spatial basis, Hz.

    Proportional to the gradient, that is to √b and its direction; one random coupling matrix for the scanner.

    Args:
        b_values: (n,) s/mm².
        b_vectors: (n, 3) unit vectors in scanner (world) axes.
        settings: ``enabled``, ``linear_hz`` and ``quadratic_hz`` at 100 mm and b = 1000 s/mm².
        generator: source of randomness.

    Returns:
        (n, 10), Hz at 100 mm.
    """
    size = np.r_[0.5 * settings["linear_hz"], np.full(3, settings["linear_hz"]), np.full(6, settings["quadratic_hz"])]
    coupling = generator.normal(0, 1, (10, 3)) * size[:, None] * bool(settings["enabled"])
    gradient = np.sqrt(np.asarray(b_values) / 1000)[:, None] * np.asarray(b_vectors)
    return gradient @ coupling.T


class EpiReadout:
    """An echo-planar readout of one grid: distorts by the head's field and an eddy field, then averages over voxels.

    Args:
        sampler: grid and cells.
        field_hz: susceptibility field on the subject's grid, Hz; it moves with the head.
        total_readout_time_s: FSL's and BIDS' definition, s.
        phase_encoding: ``j`` or ``j-``.
        sensitivity: gives the receive field at world positions (..., 3).
        distorted: False for a head without a field.
    """

    def __init__(self, sampler: HeadSampler, field_hz, total_readout_time_s, phase_encoding, sensitivity, distorted):
        self.sampler = sampler
        field = np.asarray(field_hz, dtype=np.float32) * np.float32(bool(distorted))
        self._field = torch.from_numpy(np.ascontiguousarray(field))
        across, along, through = sampler.cells_per_voxel
        # Lines of cells along the phase encoding: field and receive field are smooth across a voxel.
        self._across, self._along = (across, 1, through), along
        lines = sampler.grid.world_mm((1, along, 1))
        self._sensitivity = torch.from_numpy(sensitivity(lines))
        self._basis = torch.from_numpy(spatial_basis(lines))
        self._cells_per_hz = along * displacement_voxels(1.0, total_readout_time_s, phase_encoding)

    def measure(
        self, signal: torch.Tensor, head_to_world: np.ndarray, eddy_hz: np.ndarray | None = None
    ) -> torch.Tensor:
        """One noise-free volume.

        Args:
            signal: (x, y, z) on the subject's grid.
            head_to_world: where the head lies.
            eddy_hz: (10,) coefficients of the eddy field, Hz, or None.

        Returns:
            (x, y, z) on the acquisition grid.
        """
        cells = self.sampler.read_cells(torch.stack([signal, self._field]), head_to_world)
        density, shift = torch.nn.functional.avg_pool3d(cells[None], self._across)[0]
        if eddy_hz is not None:
            shift = shift + self._basis @ torch.as_tensor(eddy_hz, dtype=torch.float32)
        moved = shift_and_stack(
            (density * self._sensitivity).transpose(1, 2).contiguous(),
            (shift * self._cells_per_hz).transpose(1, 2).contiguous(),
            self._along,
        )
        return moved.transpose(1, 2)
