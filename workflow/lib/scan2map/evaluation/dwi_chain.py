"""The rail's own diffusion steps on a simulated scan, in a folder of their own: what the experiments judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scan2map.derivative_tables import read_frame
from scan2map.evaluation.dwi_simulation import SimulatedScan
from scan2map.evaluation.long_table import write_table
from scan2map.images import Image, load_image, save_image
from scan2map.phantom.series import Series
from scan2map.preprocess.dwi.dti import fit_series
from scan2map.preprocess.dwi.engine import correct_motion, mask_dwi
from scan2map.preprocess.dwi.fieldmap_files import estimate_field_files
from scan2map.preprocess.dwi.gradients import GradientTable, bvec_to_world, read_gradients, write_gradients
from scan2map.preprocess.dwi.prepare import prepare_dwi
from scan2map.preprocess.dwi.tensor import TensorMaps
from scan2map.provenance import write_json

FIELD_OUTPUTS = {
    "fieldmap": "field.nii.gz",
    "uncorrected": "uncorrected.nii.gz",
    "corrected": "corrected.nii.gz",
    "motion": "pepolar_motion.tsv",
    "metrics": "pepolar_metrics.tsv",
}
MERGED_OUTPUTS = {
    "dwi": "merged.nii.gz",
    "bval": "merged.bval",
    "bvec": "merged.bvec",
    "acquisition": "merged_acquisition.tsv",
    "epi": "b0.nii.gz",
    "epi_acquisition": "b0_acquisition.tsv",
}
RIGID = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


class Weighted(NamedTuple):
    """A diffusion series with its b-table."""

    image: Image
    gradients: GradientTable


class Corrected(NamedTuple):
    """What the correction of a series gives.

    Attributes:
        series: the corrected series, b-vectors rotated.
        parameters: (t, 6) estimated head motion, mm and rad, as in the motion table.
        outliers: (t, slices) slices that were found to have lost signal.
    """

    series: Weighted
    parameters: np.ndarray
    outliers: np.ndarray


def _paths(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    return {key: folder / name for key, name in names.items()}


def series_gradients(series: Series) -> GradientTable:
    """The b-table of a simulated series in FSL's convention."""
    return GradientTable(series.b_values_s_per_mm2, series.b_vectors @ bvec_to_world(series.affine))


def write_series(series: Series, stem: Path) -> Path:
    """Write a simulated series as its conversion would: image, b-table, sidecar; returns the image's path."""
    path = stem.with_suffix(".nii.gz")
    save_image(path, series.data, series.affine)
    write_gradients(series_gradients(series), stem.with_suffix(".bval"), stem.with_suffix(".bvec"))
    timing = {"PhaseEncodingDirection": series.phase_encoding, "TotalReadoutTime": series.total_readout_time_s}
    write_json(stem.with_suffix(".json"), timing)
    return path


class Chain:
    """The embedded steps on one scan, each run once, files kept in a folder.

    Args:
        folder: an empty folder.
        settings: blocks ``dwi``, ``fieldmap`` and ``fsl``.
        device: torch device.
        threads: of torch.
    """

    def __init__(self, folder, settings: Mapping, device: str = "cpu", threads: int = 1):
        self.folder, self.settings = Path(folder), dict(settings)
        self._where = {"device": device}
        self._threads = threads
        self._merged = _paths(self.folder, MERGED_OUTPUTS)
        self._field = _paths(self.folder, FIELD_OUTPUTS)
        self._mask = self.folder / "mask.nii.gz"

    def prepare(self, scan: SimulatedScan) -> Weighted:
        """Write the scan, merge it; returns the series as measured."""
        main, reverse = (write_series(one, self.folder / one.description) for one in (scan.main, scan.reverse))
        prepare_dwi([main], [reverse], self.settings["dwi"], output=self._merged)
        return self._weighted(self._merged["dwi"], self._merged["bval"], self._merged["bvec"])

    def prepare_b0(self, scan: SimulatedScan) -> None:
        """Write the b = 0 volumes of both directions alone: enough for the field."""
        parts = [(one.data[..., one.b_values_s_per_mm2 == 0], one) for one in (scan.main, scan.reverse)]
        rows = [(one.phase_encoding, one.total_readout_time_s) for data, one in parts for _ in range(data.shape[3])]
        save_image(self._merged["epi"], np.concatenate([data for data, _ in parts], axis=3), scan.main.affine)
        table = pd.DataFrame(rows, columns=["phase_encoding", "total_readout_time_s"])
        write_table(table, self._merged["epi_acquisition"])

    def estimate_field(self) -> np.ndarray:
        """Field map, Hz, (x, y, z)."""
        epi, acquisition = self._merged["epi"], self._merged["epi_acquisition"]
        resources = {"threads": self._threads, **self._where}
        estimate_field_files(epi, acquisition, self.settings, output=self._field, **resources)
        return load_image(self._field["fieldmap"]).data

    def find_brain(self) -> None:
        """Brain mask of the corrected b = 0 images."""
        mask_dwi(self._field["corrected"], self.settings, mask=self._mask, threads=self._threads)

    def correct(self, name: str, **motion) -> Corrected:
        """Undo distortion, motion and eddy currents.

        Args:
            name: of the result's files.
            motion: changes of the block ``dwi.motion``.
        """
        output = {key: self.folder / f"{name}.{key}" for key in ("bval", "bvec")}
        output |= {key: self.folder / f"{name}_{key}.tsv" for key in ("motion", "outliers")}
        output["dwi"] = self.folder / f"{name}.nii.gz"
        diffusion = self.settings["dwi"]
        settings = self.settings | {"dwi": diffusion | {"motion": diffusion["motion"] | motion}}
        files = {key: self._merged[key] for key in ("dwi", "bval", "bvec", "acquisition")}
        files |= {"fieldmap": self._field["fieldmap"], "mask": self._mask}
        correct_motion(files, settings, output=output, threads=self._threads, **self._where)
        slices = read_frame(output["outliers"], ("volume", "slice", "outlier"))
        found = slices.pivot(index="volume", columns="slice", values="outlier").to_numpy() == "yes"
        parameters = read_frame(output["motion"], RIGID)[list(RIGID)].to_numpy()
        return Corrected(self._weighted(output["dwi"], output["bval"], output["bvec"]), parameters, found)

    def tensor(self, series: Weighted, region: np.ndarray) -> TensorMaps:
        """The rail's tensor fit of a series inside a region."""
        limit = self.settings["dwi"]["tensor"]["max_b_value_s_per_mm2"]
        return fit_series(series.image, region, series.gradients, limit)[0]

    def _weighted(self, dwi, bval, bvec) -> Weighted:
        image = load_image(dwi)
        threshold = self.settings["dwi"]["b0_threshold_s_per_mm2"]
        return Weighted(image, read_gradients(bval, bvec, image.data.shape[3], threshold))


def as_measured(scan: SimulatedScan) -> Weighted:
    """The diffusion series of a scan without any correction."""
    return Weighted(Image(scan.main.data, scan.main.affine), series_gradients(scan.main))
