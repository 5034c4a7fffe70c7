"""A head that is a set of nested balls, so that every series has a closed form, and a scan with nothing switched on."""

import numpy as np

from scan2map.phantom.subject import Compartment, DigitalSubject
from scan2map.physics.diffusion import axially_symmetric_tensor

VOXEL_MM = 3.0
RADII_MM = {"wm": 21.0, "gm": 36.0, "csf": 42.0, "skull": 45.0, "scalp": 50.0}
FIBRE = np.array([0.6, 0.8, 0.0])
HOUNSFIELD = {"wm": 29, "gm": 37, "csf": 5, "skull": 900, "scalp": 40, "lesion": 20}

GRID = {"voxel_size_mm": [6, 6, 6], "field_of_view_mm": [120, 132, 108], "oblique_deg": [0, 0, 0]}
OFF = {
    "noise": {"enabled": False},
    "motion": {"enabled": False},
    "susceptibility": {"enabled": False},
    "eddy": {"enabled": False},
    "receive_field_strength": 0,
    "anat": dict(GRID),
    "dwi": {
        **GRID,
        "shells": [{"b_value_s_per_mm2": 1000, "directions": 8}, {"b_value_s_per_mm2": 2500, "directions": 6}],
        "b0_volumes": 2,
    },
    "asl": {**GRID, "single_delay": {"pairs": 2}, "multi_delay": {"pairs": 1}, "velocity_selective": {"pairs": 1}},
    "bssfp": dict(GRID),
    "ctmr": {**GRID, "ct": {**GRID, "offset_mm": 0, "offset_deg": 0}},
}


def merged(base, extra):
    """A nested dictionary with some of its entries replaced."""
    nested = {k: merged(base.get(k, {}), v) if isinstance(v, dict) else v for k, v in extra.items()}
    return base | nested


def build_ball(field_hz=lambda position: 0 * position[..., 0], lesion=False) -> DigitalSubject:
    """Nested balls around the world's origin; one fibre direction everywhere."""
    shape, affine = (40, 42, 38), np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(shape) - 1) / 2
    position = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * VOXEL_MM + affine[:3, 3]
    radius = np.linalg.norm(position, axis=-1)
    fractions, covered = {}, np.zeros(shape, np.float32)
    for name, edge in RADII_MM.items():
        ball = np.clip(0.5 + (edge - radius) / VOXEL_MM, 0, 1).astype(np.float32)
        fractions[name], covered = ball - covered, ball
    fractions["lesion"] = 0 * covered
    if lesion:
        spot = (np.linalg.norm(position - [10, 0, 0], axis=-1) < 9).astype(np.float32) * fractions["wm"]
        fractions["lesion"], fractions["wm"] = spot, fractions["wm"] - spot
    isotropic = {"gm": 0.8e-3, "csf": 3.0e-3, "lesion": 0.5e-3, "skull": 1e-4, "scalp": 1e-3}
    tensor = axially_symmetric_tensor(FIBRE, np.array(1.6e-3), np.array(0.4e-3)).astype(np.float32)
    tensors = {"wm": tensor} | {n: np.float32([d, 0, 0, d, 0, d]) for n, d in isotropic.items()}
    cbf = (60 * fractions["gm"] + 20 * fractions["wm"]).astype(np.float32)
    pd = {"wm": 0.7, "gm": 0.83, "csf": 1.0, "lesion": 0.85, "skull": 0.1, "scalp": 0.6}
    return DigitalSubject(
        affine=affine,
        fractions=fractions,
        proton_density=sum(pd[name] * value for name, value in fractions.items()),
        t1_s={"wm": 0.85, "gm": 1.35, "csf": 4.3, "lesion": 1.2, "skull": 0.3, "scalp": 0.4},
        t2_s={"wm": 0.07, "gm": 0.1, "csf": 2.0, "lesion": 0.15, "skull": 0.002, "scalp": 0.07},
        t2star_s={"wm": 0.05, "gm": 0.066, "csf": 0.8, "lesion": 0.08, "skull": 0.001, "scalp": 0.03},
        pd=pd,
        hounsfield=sum(HOUNSFIELD[n] * v for n, v in fractions.items()) - 1000 * (1 - covered),
        fibre_direction=np.broadcast_to(FIBRE.astype(np.float32), (*shape, 3)),
        fibre_fraction=0.6 * (fractions["wm"] > 0).astype(np.float32),
        axon_fraction=np.full(shape, 0.6, np.float32),
        cbf_ml_100g_min=cbf,
        att_s=np.where(cbf > 0, 1.0, 0).astype(np.float32),
        field_hz=field_hz(position).astype(np.float32),
        territories=(cbf > 0).astype(np.int16),
        lesion=None,
        compartment_list=[
            Compartment(name, name, fractions[name], np.broadcast_to(value, (*shape, 6)))
            for name, value in tensors.items()
        ],
    )
