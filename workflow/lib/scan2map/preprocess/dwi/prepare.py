"""All diffusion runs of a session as one checked series, and all of its b = 0 volumes as another."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scan2map.derivative_tables import write_frame
from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.dwi import denoise
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients, require_tensor_directions, write_gradients
from scan2map.preprocess.dwi.phase_encoding import check_readout_time, phase_axis
from scan2map.provenance import sidecar_path, write_sidecar

LOGGER = logging.getLogger("scan2map")

# A readout time and the echo spacing and matrix of the same sidecar may differ by rounding and by the vendor's way
# of counting lines, not by more.
READOUT_TOLERANCE = 0.1
# A diffusion-weighted volume looks like its shell: correlation with the shell's median image over the head, and
# mean signal relative to it. Head motion of 10 mm keeps the correlation of a 2 mm scan above 0.7.
MIN_CORRELATION = 0.5
SIGNAL_RATIO = (0.5, 2.0)

ACQUISITION_COLUMNS = {
    "file": {"Description": "File that the volume comes from"},
    "volume": {"Description": "Number of the volume in that file, from 0"},
    "phase_encoding": {"Description": "Phase-encoding direction along the voxel axes (BIDS)"},
    "total_readout_time_s": {"Description": "Total readout time (BIDS, FSL definition)", "Units": "s"},
    "b_value": {"Description": "Diffusion weighting as in the b-table", "Units": "s/mm2"},
}


class Run(NamedTuple):
    """One series with everything its correction needs to know."""

    file: Path
    image: Image
    gradients: GradientTable
    phase_encoding: str
    readout_time_s: float

    def acquisition(self) -> pd.DataFrame:
        """One row per volume; columns of ``ACQUISITION_COLUMNS``."""
        count = len(self.gradients)
        return pd.DataFrame(
            {
                "file": self.file.name,
                "volume": range(count),
                "phase_encoding": self.phase_encoding,
                "total_readout_time_s": self.readout_time_s,
                "b_value": self.gradients.b_values,
            },
            index=range(count),
        )

    def take(self, index) -> tuple[Run, pd.DataFrame]:
        """Some volumes of the run, and their rows of the acquisition table."""
        rows = self.acquisition()[index]
        image = Image(self.image.data[..., index], self.image.affine)
        return self._replace(image=image, gradients=self.gradients.take(index)), rows


def _companion(path: Path, extension: str) -> Path:
    return Path(str(path).removesuffix(".gz").removesuffix(".nii") + extension)


def read_acquisition(path) -> tuple[str, float]:
    """Phase-encoding direction and total readout time (s) from an image's sidecar.

    Raises:
        DataError: no sidecar, a missing or impossible direction, or a missing, impossible or contradicted time.
    """
    sidecar = sidecar_path(path)
    try:
        content = json.loads(sidecar.read_text())
        direction, readout = content.get("PhaseEncodingDirection"), content.get("TotalReadoutTime")
        phase_axis(direction)
        readout = check_readout_time(readout)
    except (OSError, json.JSONDecodeError) as error:
        raise DataError("The sidecar cannot be read", file=sidecar, remedy="convert the series again") from error
    except DataError as error:
        raise DataError(str(error), file=sidecar) from error
    _check_echo_spacing(content, readout, sidecar)
    return direction, readout


def _check_echo_spacing(content: dict, readout: float, file) -> None:
    """Readout time = (lines - 1) x effective echo spacing, where the sidecar has all three."""
    spacing, lines = content.get("EffectiveEchoSpacing"), content.get("ReconMatrixPE")
    if not (isinstance(spacing, float) and isinstance(lines, int) and spacing > 0 and lines > 1):
        return
    expected = (lines - 1) * spacing
    if abs(readout / expected - 1) > READOUT_TOLERANCE:
        raise DataError(
            "The total readout time contradicts the echo spacing",
            file=file,
            found=f"TotalReadoutTime {readout:g} s",
            allowed=f"{expected:g} s, (ReconMatrixPE - 1) x EffectiveEchoSpacing",
            remedy="correct the sidecar",
        )


def read_run(path, b0_threshold: float, *, b_table: bool = True) -> Run:
    """Read and check one diffusion series, or (without b-table) a series of b = 0 images.

    Raises:
        DataError: any check fails; the message says which.
    """
    path = Path(path)
    image = load_image(path)
    if image.data.ndim == 3:
        image = Image(image.data[..., None], image.affine)
    direction, readout = read_acquisition(path)
    return Run(path, image, _read_table(path, image.data.shape[3], b0_threshold, b_table), direction, readout)


def _read_table(path: Path, volumes: int, b0_threshold: float, required: bool) -> GradientTable:
    bval, bvec = _companion(path, ".bval"), _companion(path, ".bvec")
    if required or bval.exists():
        return read_gradients(bval, bvec, volumes, b0_threshold)
    return GradientTable(np.zeros(volumes), np.zeros((volumes, 3)), b0_threshold)


def find_corrupted(data: np.ndarray, shells: np.ndarray) -> dict[int, str]:
    """Volumes that cannot be images of this head: constant, or unlike the median of their shell.

    Args:
        data: (x, y, z, t).
        shells: (t,) b-value of each volume's shell.

    Returns:
        Number of the volume and what is wrong with it.
    """
    found = {}
    for shell in np.unique(shells):
        members = np.flatnonzero(shells == shell)
        median = np.median(data[..., members], axis=3)
        head = median > median.mean()
        for volume in members:
            complaint = _complaint(data[..., volume], median, head, judge=len(members) > 2)
            if complaint:
                found[int(volume)] = complaint
    return dict(sorted(found.items()))


def _complaint(volume: np.ndarray, median: np.ndarray, head: np.ndarray, *, judge: bool) -> str:
    if np.ptp(volume) == 0:
        return f"is {volume.flat[0]:g} everywhere"
    if not judge:
        return ""
    ratio = float(volume[head].mean() / median[head].mean())
    correlation = float(np.corrcoef(volume.ravel(), median.ravel())[0, 1])
    if not SIGNAL_RATIO[0] <= ratio <= SIGNAL_RATIO[1]:
        return f"has {ratio:.2f} times the signal of its shell"
    return f"correlates {correlation:.2f} with its shell" if correlation < MIN_CORRELATION else ""


def handle_corrupted(run: Run, action: str) -> tuple[Run, pd.DataFrame]:
    """Stop at corrupted volumes (``stop``), or leave them out and say so (``drop``).

    Returns:
        The run without them, and its rows of the acquisition table (which keep the original volume numbers).

    Raises:
        DataError: a volume is corrupted and the action is ``stop``.
    """
    corrupted = find_corrupted(run.image.data, run.gradients.shells)
    found = "; ".join(f"volume {volume} {complaint}" for volume, complaint in corrupted.items())
    if corrupted and action == "stop":
        raise DataError(
            "The diffusion series holds corrupted volumes",
            file=run.file,
            found=found,
            allowed="volumes that look like their shell",
            remedy="export the series again, exclude it, or set dwi.prepare.corrupted_volumes to drop",
        )
    if corrupted:
        LOGGER.warning("%s: left out: %s", run.file.name, found)
    return run.take(~np.isin(np.arange(len(run.gradients)), list(corrupted)))


def merge_runs(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> tuple[Image, GradientTable, pd.DataFrame]:
    """Series of one grid, one after the other.

    Raises:
        DataError: the grids differ.
    """
    for run in runs[1:]:
        require_same_grid(runs[0].image, run.image, names=(runs[0].file.name, run.file.name))
    data = np.concatenate([run.image.data for run in runs], axis=3)
    gradients = GradientTable(
        np.concatenate([run.gradients.b_values for run in runs]),
        np.concatenate([run.gradients.b_vectors for run in runs]),
        runs[0].gradients.b0_threshold,
    )
    return Image(data, runs[0].image.affine), gradients, pd.concat(tables, ignore_index=True)


def prepare_dwi(dwi: Sequence, epi: Sequence, settings: dict, *, output: dict) -> None:
    """Check, clean and merge the diffusion runs of a session, and collect its b = 0 volumes.

    Args:
        dwi: diffusion images with .bval, .bvec and .json beside them, in the order of acquisition.
        epi: further b = 0 images (``fmap/*_epi``) with .json beside them; may be empty.
        settings: block ``dwi``.
        output: paths ``dwi``, ``bval``, ``bvec``, ``acquisition`` of the merged series and ``epi``,
            ``epi_acquisition`` of the b = 0 volumes. The first b = 0 volume of the diffusion runs comes first in
            ``epi``: its head position is the reference of everything after.

    Raises:
        DataError: any input fails a check.
    """
    threshold = settings["b0_threshold_s_per_mm2"]
    runs = [clean_run(read_run(path, threshold), settings) for path in dwi]
    extra = [read_run(path, threshold, b_table=False) for path in epi]
    image, gradients, acquisition = merge_runs(*zip(*runs, strict=True))
    require_tensor_directions(gradients, dwi[0])
    b0_runs = [run.take(run.gradients.is_b0) for run in (*(run for run, _ in runs), *extra)]
    b0_image, _, b0_acquisition = merge_runs(*zip(*b0_runs, strict=True))
    sources = [*dwi, *epi]
    _write_merged(image, gradients, acquisition, sources, settings, output)
    save_image(output["epi"], b0_image.data, b0_image.affine)
    write_sidecar(output["epi"], step="prepare_dwi", description="All b = 0 volumes of the session", sources=sources)
    _write_acquisition(output["epi_acquisition"], b0_acquisition, sources)


def clean_run(run: Run, settings: dict) -> tuple[Run, pd.DataFrame]:
    """Handle corrupted volumes, then remove noise and Gibbs ringing where the settings say so."""
    run, table = handle_corrupted(run, settings["prepare"]["corrupted_volumes"])
    data = denoise.clean(run.image.data, settings["prepare"])
    return run._replace(image=Image(data, run.image.affine)), table


def _write_merged(image: Image, gradients: GradientTable, acquisition, sources, settings: dict, output: dict) -> None:
    save_image(output["dwi"], image.data, image.affine)
    write_gradients(gradients, output["bval"], output["bvec"])
    write_sidecar(
        output["dwi"],
        step="prepare_dwi",
        description="All diffusion runs of the session, checked and merged",
        sources=sources,
        settings=settings["prepare"],
        units="arbitrary",
    )
    _write_acquisition(output["acquisition"], acquisition, sources)


def _write_acquisition(path, table: pd.DataFrame, sources) -> None:
    write_frame(
        path,
        table,
        ACQUISITION_COLUMNS,
        step="prepare_dwi",
        description="Where each volume comes from and how it was encoded",
        sources=sources,
    )
