"""Relaxation times, proton density, CT numbers and diffusion compartments of the tissues at 3 T.

Sources are listed constant by constant in ``docs/phantom.md``.
"""

from __future__ import annotations

import numpy as np

from scan2map.phantom.fibres import FibreField
from scan2map.phantom.records import Compartment, LesionSpec
from scan2map.physics.diffusion import (
    FREE_WATER_DIFFUSIVITY_MM2_S,
    axially_symmetric_tensor,
    isotropic_tensor,
    outer_elements,
)

T1_S = {"csf": 4.3, "gm": 1.35, "wm": 0.81, "skull": 0.25, "scalp": 0.38}
T2_S = {"csf": 2.0, "gm": 0.099, "wm": 0.069, "skull": 0.001, "scalp": 0.068}
T2STAR_S = {"csf": 0.5, "gm": 0.066, "wm": 0.053, "skull": 0.0004, "scalp": 0.030}
PROTON_DENSITY = {"csf": 1.0, "gm": 0.83, "wm": 0.71, "lesion": 0.85, "skull": 0.20, "scalp": 0.60}

HOUNSFIELD = {"csf": 5.0, "gm": 37.0, "wm": 29.0, "lesion": 33.0, "scalp": 40.0}
AIR_HOUNSFIELD = -1000.0
# Spongy diploe between two compact tables.
DIPLOE_HOUNSFIELD, TABLE_HOUNSFIELD = 600.0, 1500.0

# Diffusivities, mm²/s.
AXON_AXIAL = 1.7e-3
GM_FAST = 1.15e-3
GM_SLOW_AXIAL, GM_SLOW_RADIAL = 0.60e-3, 0.37e-3
EXTRACRANIAL = 1.2e-3
# Volume shares.
GM_SLOW_SHARE = 0.5
WM_FREE_SHARE = 0.008


def relaxation_times(lesion: LesionSpec | None) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """T1, T2 and T2* by tissue, s; a lesion's times are its factors times the mean of grey and white matter."""
    tables = [dict(T1_S), dict(T2_S), dict(T2STAR_S)]
    factors = (lesion.t1_factor, lesion.t2_factor, lesion.t2_factor) if lesion else (1.0, 1.0, 1.0)
    for table, factor in zip(tables, factors, strict=True):
        table["lesion"] = factor * (table["gm"] + table["wm"]) / 2
    return tables[0], tables[1], tables[2]


def uniform_tensor(shape, diffusivity: float) -> np.ndarray:
    """The same isotropic tensor everywhere, (*shape, 6): a read-only view that takes no memory."""
    return np.broadcast_to(isotropic_tensor(np.float32(diffusivity)), (*shape, 6))


def white_matter_compartments(wm: np.ndarray, fibres: FibreField) -> list[Compartment]:
    """Coherent sticks, dispersed sticks and hindered extra-axonal water of white matter; its free water comes apart.

    The hindered radial diffusivity follows the tortuosity limit D_axial (1 - f_intra); with lower coherence the
    zeppelin becomes rounder at the same mean diffusivity.

    Source:
        Zhang H et al. (2012), NODDI, NeuroImage 61:1000-1016; Szafer A et al. (1995), MRM 33:697-712.
    """
    axons, coherence = fibres.axon_fraction, fibres.coherence
    radial = AXON_AXIAL * (1 - axons)
    mean = (AXON_AXIAL + 2 * radial) / 3
    zeppelin = axially_symmetric_tensor(
        fibres.direction, mean + coherence * (AXON_AXIAL - mean), mean + coherence * (radial - mean)
    )
    stick = np.float32(AXON_AXIAL) * outer_elements(fibres.direction)
    dispersed = uniform_tensor(wm.shape, AXON_AXIAL / 3)
    return [
        Compartment("stick", "wm", wm * axons * coherence, stick),
        Compartment("dispersed", "wm", wm * axons * (1 - coherence), dispersed),
        Compartment("zeppelin", "wm", wm * (1 - axons - WM_FREE_SHARE), zeppelin),
    ]


def grey_matter_compartments(gm: np.ndarray, fibres: FibreField) -> list[Compartment]:
    """Slow (neurites, mildly anisotropic) and fast water of grey matter: excess kurtosis near 0.6, FA near 0.09."""
    axial, radial = np.full_like(gm, GM_SLOW_AXIAL), np.full_like(gm, GM_SLOW_RADIAL)
    slow = axially_symmetric_tensor(fibres.direction, axial, radial)
    return [
        Compartment("gm_slow", "gm", GM_SLOW_SHARE * gm, slow),
        Compartment("gm_fast", "gm", (1 - GM_SLOW_SHARE) * gm, uniform_tensor(gm.shape, GM_FAST)),
    ]


def diffusion_compartments(fractions: dict[str, np.ndarray], fibres: FibreField, lesion: LesionSpec | None):
    """All Gaussian compartments of the head; the fractions are normalised to 1 wherever there is tissue."""
    shape = fractions["wm"].shape
    head = sum(fractions.values())
    share = {name: f / np.maximum(head, 1e-3) * (head > 1e-3) for name, f in fractions.items()}
    iso = uniform_tensor
    return [
        *white_matter_compartments(share["wm"], fibres),
        Compartment("wm_free", "wm", WM_FREE_SHARE * share["wm"], iso(shape, FREE_WATER_DIFFUSIVITY_MM2_S)),
        *grey_matter_compartments(share["gm"], fibres),
        Compartment("free", "csf", share["csf"], iso(shape, FREE_WATER_DIFFUSIVITY_MM2_S)),
        Compartment("lesion", "lesion", share["lesion"], iso(shape, lesion.diffusivity_mm2_s if lesion else 0)),
        Compartment("skull", "skull", share["skull"], iso(shape, EXTRACRANIAL)),
        Compartment("scalp", "scalp", share["scalp"], iso(shape, EXTRACRANIAL)),
    ]


def weighted_sum(fractions: dict[str, np.ndarray], values: dict[str, float]) -> np.ndarray:
    """Sum of fraction times value over the tissues that have a value, float32."""
    return sum(np.float32(values[name]) * fractions[name] for name in values)


def hounsfield(fractions: dict[str, np.ndarray], skull_depth: np.ndarray) -> np.ndarray:
    """CT number of the mixed voxel, HU; the skull has two compact tables and diploe between them."""
    air = 1 - sum(fractions.values())
    bone = DIPLOE_HOUNSFIELD + (TABLE_HOUNSFIELD - DIPLOE_HOUNSFIELD) * (2 * skull_depth - 1) ** 2
    return (weighted_sum(fractions, HOUNSFIELD) + fractions["skull"] * bone + AIR_HOUNSFIELD * air).astype(np.float32)
