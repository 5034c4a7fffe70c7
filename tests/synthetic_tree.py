"""A tiny tree of derivatives and truth with known values, for tests of evaluation and reports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from scan2map.bids.names import bids_path
from scan2map.images import save_image
from scan2map.preprocess.asl.metadata import Labelling, save_labelling
from scan2map.preprocess.registration import Transform, save_transform
from scan2map.provenance import write_sidecar

SHAPE = (22, 26, 18)
AFFINE = np.array([[-4.0, 0, 0, 42], [0, 4, 0, -50], [0, 0, 4, -34], [0, 0, 0, 1]])
READOUT_S = 0.05
VALUES = {"FA": (0.05, 0.15, 0.6), "MD": (3e-3, 0.8e-3, 0.7e-3), "CBF": (0.0, 60.0, 20.0), "ATT": (0.0, 1.2, 1.6)}
DIRECTION = np.array([1.0, 0, 0])


@dataclass(frozen=True)
class Tree:
    """Where a synthetic study lies; ``derivative`` and ``truth`` take entities like the workflow's function."""

    root: Path

    def session(self, subject: str, session: str) -> tuple[partial, partial]:
        return tuple(
            partial(self._path, root=self.root / name, subject=subject, session=session)
            for name in ("scan2map", "phantom")
        )

    @staticmethod
    def _path(datatype, suffix, extension=".nii.gz", *, root, subject, session, **entities) -> str:
        return str(root / bids_path(datatype, suffix, extension, sub=subject, ses=session, **entities))


def head_radius() -> np.ndarray:
    """Distance of each voxel from the middle, mm."""
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return 4.0 * np.linalg.norm(voxels - (np.array(SHAPE) - 1) / 2, axis=-1)


def tissues() -> dict[str, np.ndarray]:
    """Concentric shells: CSF outside, then GM, then WM."""
    radius = head_radius()
    return {"CSF": (radius < 34) & (radius >= 29), "GM": (radius < 29) & (radius >= 20), "WM": radius < 20}


def brain() -> np.ndarray:
    return head_radius() < 34


def tissue_map(values) -> np.ndarray:
    """A map with one value per tissue, in the order CSF, GM, WM."""
    return sum(value * mask for value, mask in zip(values, tissues().values(), strict=True)).astype(np.float32)


def diffusion_series() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise-free signals (x, y, z, t), b-values, b-vectors of an axial tensor along x in every tissue."""
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(12, 3))
    vectors = np.concatenate([[[0, 0, 0]], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)])
    b_values = np.array([0.0] + [1000.0] * 12)
    along, across = np.array([2e-3, 1e-3, 1.5e-3]), np.array([1e-3, 0.7e-3, 0.3e-3])
    cosine = vectors @ DIRECTION
    diffusivity = across[:, None] + (along - across)[:, None] * cosine**2
    signal = np.array([[150.0], [100], [80]]) * np.exp(-b_values * diffusivity)
    return sum(mask[..., None] * row for mask, row in zip(tissues().values(), signal, strict=True)), b_values, vectors


def true_tensor_scalars() -> dict[str, np.ndarray]:
    """FA and MD of :func:`diffusion_series`, by the definition."""
    along, across = np.array([2e-3, 1e-3, 1.5e-3]), np.array([1e-3, 0.7e-3, 0.3e-3])
    fa = (along - across) / np.sqrt(along**2 + 2 * across**2)
    return {"FA": tissue_map(fa), "MD": tissue_map((along + 2 * across) / 3)}


def _save(path: str, data: np.ndarray, step: str, **sidecar) -> None:
    save_image(path, data, AFFINE)
    write_sidecar(path, step=step, description=f"Synthetic output of {step}", **sidecar)


def write_anatomy(derivative, truth) -> None:
    t1w = tissue_map((20, 60, 100)) + 15 * ((head_radius() < 38) & ~brain())
    _save(derivative("anat", "T1w", desc="preproc"), t1w, "correct_bias")
    for root in (derivative, truth):
        _save(root("anat", "mask", desc="brain"), brain(), "extract_brain")
        for tissue, mask in tissues().items():
            _save(root("anat", "probseg", label=tissue), mask, "segment_tissues")


def _write_tissues(derivative, truth, datatype: str, space: str) -> None:
    for tissue, mask in tissues().items():
        _save(derivative(datatype, "probseg", space=space, label=tissue), mask, f"register_{space}")
        _save(truth(datatype, "probseg", label=tissue), mask, "phantom")
    for root in (derivative, truth):
        _save(root(datatype, "mask", desc="brain"), brain(), "mask")
    save_transform(derivative(datatype, "xfm", ".mat", **{"from": space, "to": "T1w", "mode": "image"}), Transform())


def write_diffusion(derivative, truth, *, fa_error: float = 0.0, field_error_hz: float = 0.0) -> None:
    scalars = true_tensor_scalars()
    for param, unit in (("FA", "1"), ("MD", "mm2/s"), ("AD", "mm2/s"), ("RD", "mm2/s")):
        true = scalars.get(param, scalars["MD"])
        measured = true + fa_error * brain() if param == "FA" else true
        _save(derivative("dwi", "dwimap", model="DTI", param=param), measured, "fit_tensor", units=unit)
        _save(truth("dwi", "dwimap", model="DTI", param=param), true, "phantom")
    direction = brain()[..., None] * DIRECTION
    tensor = np.stack([scalars["MD"] * scale for scale in (2, 0, 0, 0.5, 0, 0.5)], axis=-1)
    _save(derivative("dwi", "dwimap", model="DTI", param="direction"), direction, "fit_tensor")
    _save(truth("dwi", "dwimap", model="DTI", param="tensor"), tensor, "phantom")
    _write_tissues(derivative, truth, "dwi", "dwi")
    _write_series(derivative)
    _write_fields(derivative, truth, field_error_hz)


def _write_series(derivative) -> None:
    signal, b_values, vectors = diffusion_series()
    for desc in ("merged", "preproc"):
        _save(derivative("dwi", "dwi", desc=desc), signal, "merge_dwi")
        np.savetxt(derivative("dwi", "dwi", ".bval", desc=desc), b_values[None], fmt="%g")
        np.savetxt(derivative("dwi", "dwi", ".bvec", desc=desc), vectors.T, fmt="%.8f")
    rows = {"file": "dwi", "volume": range(13), "phase_encoding": "j-", "total_readout_time_s": READOUT_S}
    table = pd.DataFrame(rows | {"b_value": b_values})
    table.to_csv(derivative("dwi", "acquisition", ".tsv", desc="merged"), sep="\t", index=False)
    b0 = table.iloc[[0, 0]].assign(phase_encoding=["j-", "j"])
    Path(derivative("fmap", "acquisition", ".tsv", desc="merged")).parent.mkdir(parents=True, exist_ok=True)
    b0.to_csv(derivative("fmap", "acquisition", ".tsv", desc="merged"), sep="\t", index=False)
    _motion_table(13).to_csv(derivative("dwi", "timeseries", ".tsv", desc="motion"), sep="\t", index=False)
    volumes, slices = (index.ravel() for index in np.indices((13, SHAPE[2])))
    lost = (volumes == 3) & (slices == 5)
    carpet = {
        "volume": volumes,
        "slice": slices,
        "score": np.where(lost, -9.0, 0.5),
        "outlier": np.where(lost, "yes", "no"),
    }
    pd.DataFrame(carpet).to_csv(derivative("dwi", "slices", ".tsv", desc="outliers"), sep="\t", index=False)
    quality = pd.DataFrame({"mean_displacement_mm": [0.2], "outlier_slices_percent": [1.5]})
    quality.to_csv(derivative("dwi", "metrics", ".tsv", desc="qc"), sep="\t", index=False)


MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def _motion_table(volumes: int) -> pd.DataFrame:
    return pd.DataFrame({name: np.linspace(0, 0.01 * step, volumes) for step, name in enumerate(MOTION_COLUMNS)})


def _write_fields(derivative, truth, field_error_hz: float) -> None:
    field = 40 * np.exp(-((head_radius() / 20) ** 2)) * brain()
    _save(
        derivative("fmap", "fieldmap", desc="pepolar"), field + field_error_hz * brain(), "estimate_field", units="Hz"
    )
    _save(truth("fmap", "fieldmap", desc="truth"), field, "phantom", units="Hz")
    b0 = diffusion_series()[0][..., 0]
    shifted = np.roll(b0, 2, axis=1)
    _save(derivative("fmap", "epi", desc="uncorrected"), np.stack([b0, shifted], -1), "estimate_field")
    _save(derivative("fmap", "epi", desc="corrected"), np.stack([b0, 1.01 * b0], -1), "estimate_field")


def write_perfusion(derivative, truth, *, cbf_scale: float = 1.0) -> None:
    true = tissue_map(VALUES["CBF"])
    _save(derivative("perf", "cbf"), cbf_scale * true, "quantify_cbf", units="ml/100g/min")
    _save(truth("perf", "cbf"), true, "phantom", units="ml/100g/min")
    _save(derivative("perf", "deltam", desc="mean"), true / 10, "average_pairs")
    _save(derivative("perf", "m0scan", desc="calibrated"), 100.0 * brain(), "register_m0")
    _write_tissues(derivative, truth, "perf", "asl")
    _motion_table(6).to_csv(derivative("perf", "timeseries", ".tsv", desc="motion"), sep="\t", index=False)
    pd.DataFrame({"gm_cbf": [60.0]}).to_csv(derivative("perf", "metrics", ".tsv", desc="qc"), sep="\t", index=False)
    _write_pairs(derivative, true)


def write_multidelay(derivative, truth, *, att_error_s: float = 0.0) -> None:
    """Maps of the joint fit of series with several delays."""
    cbf, att = tissue_map(VALUES["CBF"]), tissue_map(VALUES["ATT"])
    _save(derivative("perf", "cbf", acq="multidelay"), 0.9 * cbf, "quantify_multidelay", units="ml/100g/min")
    _save(derivative("perf", "att", acq="multidelay"), att + att_error_s, "quantify_multidelay", units="s")
    _save(truth("perf", "att"), att, "phantom", units="s")


def _write_pairs(derivative, cbf: np.ndarray) -> None:
    """Three control-label pairs of PCASL, the second of them an outlier, and their table."""
    noise = np.random.default_rng(1).normal(0, 1, (*cbf.shape, 6))
    control, label = 100.0 * brain(), 100.0 * brain() - cbf / 50
    types = ("control", "label") * 3
    series = np.stack([control if kind == "control" else label for kind in types], axis=-1) + noise
    series[..., 2] += 3 * brain()
    _save(derivative("perf", "asl", desc="preproc"), series, "correct_asl_motion")
    times = (1.8,) * 6
    labelling = Labelling("PCASL", types, times, times, None, 0, None, "Separate", 10.0, None, 3.0)
    save_labelling(derivative("perf", "labelling", ".json"), labelling)
    pairs = pd.DataFrame({"volumes": ["0,1", "2,3", "4,5"], "fate": ["skipped", "outlier", "used"]})
    pairs.to_csv(derivative("perf", "pairs", ".tsv", desc="outliers"), sep="\t", index=False)


def write_session(tree: Tree, subject: str = "01", session: str = "1", *, modalities=("anat", "dwi", "asl"), **errors):
    """Write one session; returns its ``derivative`` and ``truth`` functions."""
    derivative, truth = tree.session(subject, session)
    if "anat" in modalities:
        write_anatomy(derivative, truth)
    if "dwi" in modalities:
        keys = ("fa_error", "field_error_hz")
        write_diffusion(derivative, truth, **{key: errors[key] for key in keys if key in errors})
    if "asl" in modalities:
        write_perfusion(derivative, truth, **{key: errors[key] for key in ("cbf_scale",) if key in errors})
    if "multidelay" in modalities:
        write_multidelay(derivative, truth, **{key: errors[key] for key in ("att_error_s",) if key in errors})
    return derivative, truth
