"""Small records that the rooms of the digital subject hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Compartment:
    """One Gaussian diffusion compartment.

    Attributes:
        name: ``stick``, ``dispersed``, ``zeppelin``, ``wm_free``, ``gm_slow``, ``gm_fast``, ``free``, ``lesion``,
            ``skull`` or ``scalp``.
        tissue: the key of ``DigitalSubject.fractions`` whose relaxation times and proton density it shares.
        fraction: volume fraction of the voxel, (x, y, z); over all compartments the sum is 1 inside the head, 0 in air.
        tensor: diffusion tensor Dxx, Dxy, Dxz, Dyy, Dyz, Dzz in world RAS axes, mm²/s, (x, y, z, 6). May be a
            read-only broadcast view where the compartment is the same everywhere.
    """

    name: str
    tissue: str
    fraction: np.ndarray
    tensor: np.ndarray


@dataclass(frozen=True)
class LesionSpec:
    """A focal lesion.

    Attributes:
        position_mm: centre in template (MNI152) world coordinates, RAS mm.
        radius_mm: mean radius, mm.
        penumbra_mm: width of the rim of reduced flow around the core, mm.
        cbf_factor: perfusion inside relative to the healthy tissue.
        att_delay_s: added arterial transit time, s.
        t1_factor, t2_factor: T1 and T2 inside relative to the mean of grey and white matter.
        diffusivity_mm2_s: isotropic diffusivity inside, mm²/s.
        hounsfield_change: added to the CT number, HU.
    """

    position_mm: tuple[float, float, float]
    radius_mm: float
    penumbra_mm: float
    cbf_factor: float
    att_delay_s: float
    t1_factor: float
    t2_factor: float
    diffusivity_mm2_s: float
    hounsfield_change: float
