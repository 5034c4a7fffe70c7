"""A focal lesion: an irregular ball with graded edge, optionally with a penumbra of reduced flow."""

from __future__ import annotations

import numpy as np

from scan2map.phantom.anatomy import ramp
from scan2map.phantom.deformation import Warp
from scan2map.phantom.grid import Grid, regrid, smooth_noise
from scan2map.phantom.records import LesionSpec

# The surface undulates by this share of the radius, over this length.
IRREGULARITY, UNDULATION_MM = 0.15, 8.0
# A lesion whose place is left to chance lies in one middle cerebral artery territory (right side; mirrored by a coin).
RANDOM_BOX_MM = ((24, 44), (-40, 24), (0, 38))


def draw_lesion(settings: dict, rng: np.random.Generator) -> LesionSpec | None:
    """The subject's lesion from the settings ``phantom_subject.lesion``; None for a healthy subject."""
    if rng.random() >= settings["probability"]:
        return None
    place = settings["position_mm"]
    if place is None:
        place = [rng.uniform(*side) for side in RANDOM_BOX_MM]
        place[0] *= rng.choice([-1, 1])
    radius = settings["radius_mm"] * np.exp(settings["radius_log_sd"] * np.clip(rng.standard_normal(), -2, 2))
    same = ("penumbra_mm", "cbf_factor", "att_delay_s", "t1_factor", "t2_factor")
    return LesionSpec(
        position_mm=tuple(float(p) for p in place),
        radius_mm=float(radius),
        diffusivity_mm2_s=settings["diffusivity_mm2_s"],
        hounsfield_change=settings["hounsfield_change"],
        **{name: settings[name] for name in same},
    )


def lesion_share(lesion: LesionSpec, grid: Grid, warp: Warp, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Share of each voxel inside the core, and inside core or penumbra, 0..1 (x, y, z)."""
    centre = warp.subject_point(lesion.position_mm)
    distance = np.linalg.norm(grid.points() - centre.astype(np.float32), axis=-1)
    uneven = regrid(smooth_noise(warp.lattice, UNDULATION_MM, rng), warp.lattice, grid)
    # Only the shape is uneven: the mean over the place of the lesion is taken out, so that the radius stays the mean.
    uneven -= uneven[distance < lesion.radius_mm + grid.voxel_size_mm].mean()
    edge = lesion.radius_mm * (1 + IRREGULARITY * np.clip(uneven, -2, 2))
    voxel = grid.voxel_size_mm
    return ramp(distance, edge, voxel), ramp(distance, edge + lesion.penumbra_mm, voxel)


def replace_tissue(fractions: dict[str, np.ndarray], core: np.ndarray) -> dict[str, np.ndarray]:
    """Turn the brain tissue inside the core into lesion; CSF spaces stay."""
    out = dict(fractions)
    out["gm"], out["wm"] = fractions["gm"] * (1 - core), fractions["wm"] * (1 - core)
    out["lesion"] = (fractions["gm"] + fractions["wm"]) * core
    return out


def change_perfusion(cbf, att_s, core, penumbra, lesion: LesionSpec) -> tuple[np.ndarray, np.ndarray]:
    """Lower flow and later arrival in the core; half the change in the penumbra."""
    depth = 0.5 * (core + penumbra) if lesion.penumbra_mm > 0 else core
    late = np.where(cbf > 0, att_s + depth * lesion.att_delay_s, 0)
    return cbf * (1 + depth * (lesion.cbf_factor - 1)), late.astype(np.float32)
