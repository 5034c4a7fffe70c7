"""A first, plain head (no deformation): stands in until the full builder replaces it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scan2map.phantom.subject import Compartment, DigitalSubject

T1 = {"csf": 4.0, "gm": 1.35, "wm": 0.85, "lesion": 1.6, "skull": 0.4, "scalp": 0.4}
T2 = {"csf": 1.5, "gm": 0.099, "wm": 0.069, "lesion": 0.16, "skull": 0.05, "scalp": 0.05}
T2STAR = {"csf": 0.8, "gm": 0.066, "wm": 0.053, "lesion": 0.1, "skull": 0.001, "scalp": 0.03}
PD = {"csf": 1.0, "gm": 0.82, "wm": 0.70, "lesion": 0.88, "skull": 0.12, "scalp": 0.6}


def _tensor(direction, axial, radial):
    out = np.empty((*direction.shape[:3], 6), np.float32)
    for n, (i, j) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
        out[..., n] = (axial - radial) * direction[..., i] * direction[..., j] + (radial if i == j else 0)
    return out


def _isotropic(shape, value):
    return np.broadcast_to(np.float32([value, 0, 0, value, 0, value]), (*shape, 6))


def build(subject, settings, seed):
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    voxel = float(settings["voxel_size_mm"])
    lower, upper = np.array([-92, -128, -90.0]), np.array([92, 94, 106.0])
    shape = tuple(np.ceil((upper - lower) / voxel).astype(int))
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = lower + voxel / 2
    maps = []
    for load in (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template):
        image = load()
        data = np.asarray(image.dataobj, np.float32)
        data = (data > 0).astype(np.float32) if not maps else data
        data = ndimage.gaussian_filter(data, 0.35 * voxel)
        transform = np.linalg.inv(image.affine) @ affine
        maps.append(ndimage.affine_transform(data, transform, output_shape=shape, order=1))
    brain, gm, wm = maps
    distance = ndimage.distance_transform_edt(brain < 0.5, voxel)
    step = lambda edge: np.clip(0.5 + (edge - distance) / voxel, 0, 1)  # noqa: E731
    inner, outer, skin = step(2.0 + voxel / 2), step(8.5), step(15.0)
    total = np.maximum(gm + wm, 1)
    gm, wm = gm / total, wm / total
    inner = np.maximum(inner, gm + wm)
    fractions = {"csf": inner - gm - wm, "gm": gm, "wm": wm, "lesion": 0 * gm}
    fractions |= {"skull": np.maximum(outer - inner, 0), "scalp": np.maximum(skin - np.maximum(outer, inner), 0)}
    fractions = {k: np.clip(v, 0, 1).astype(np.float32) for k, v in fractions.items()}
    total = np.maximum(sum(fractions.values()), 1)
    fractions = {k: v / total for k, v in fractions.items()}
    world = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * voxel + affine[:3, 3]
    direction = np.zeros((*shape, 3), np.float32)
    direction[...] = (0, 0, 1)
    direction[np.abs(world[..., 0]) < 18] = (1, 0, 0)
    direction[np.abs(world[..., 0]) > 32] = (0, 1, 0)
    fibre = (0.5 * (fractions["wm"] > 0)).astype(np.float32)
    wm, gm = fractions["wm"], fractions["gm"]
    parts = [
        Compartment("stick", "wm", 0.45 * wm, _tensor(direction, 1.7e-3, 0)),
        Compartment("zeppelin", "wm", 0.55 * wm, _tensor(direction, 1.5e-3, 0.5e-3)),
        Compartment("gm_slow", "gm", 0.5 * gm, _isotropic(shape, 0.45e-3)),
        Compartment("gm_fast", "gm", 0.5 * gm, _isotropic(shape, 1.15e-3)),
        Compartment("free", "csf", fractions["csf"], _isotropic(shape, 3.0e-3)),
        Compartment("extracranial", "scalp", fractions["skull"] + fractions["scalp"], _isotropic(shape, 1.2e-3)),
    ]
    head = sum(fractions.values())
    hu = {"csf": 5, "gm": 37, "wm": 29, "lesion": 25, "skull": 900, "scalp": 40}
    hounsfield = sum(hu[k] * v for k, v in fractions.items()) - 1000 * (1 - head)
    bump = lambda c, s: np.exp(-((world - np.array(c)) ** 2).sum(-1) / (2 * s**2))  # noqa: E731
    field = 80 * bump((0, 45, -25), 22) + 50 * (bump((-50, -20, -35), 18) + bump((50, -20, -35), 18))
    territory = np.where(world[..., 1] < -60, 3, np.where(np.abs(world[..., 0]) < 22, 1, 2)) * 2 - (world[..., 0] < 0)
    f32 = np.float32
    return DigitalSubject(
        affine=affine, fractions=fractions, proton_density=sum(PD[k] * v for k, v in fractions.items()).astype(f32),
        t1_s=T1, t2_s=T2, t2star_s=T2STAR, pd=PD, hounsfield=hounsfield.astype(f32), fibre_direction=direction,
        fibre_fraction=0.9 * fibre, cbf_ml_100g_min=(65 * gm + 20 * wm).astype(f32),
        att_s=np.where(gm + wm > 0.05, (1.2 * gm + 1.6 * wm) / np.maximum(gm + wm, 0.05), 0).astype(f32),
        field_hz=field.astype(f32), territories=np.where(gm + wm > 0.05, territory, 0).astype(np.int16), lesion=None,
        compartment_list=parts,
    )
