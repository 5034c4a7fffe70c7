"""Susceptibility solver against named peers on this machine: PyHySCO if installed, TOPUP by its documented time.

Run: ``python tests/benchmarks/bench_susceptibility.py [--threads 2] [--xa30 FOLDER]``. FOLDER holds the public scan
(``In/``); TOPUP's results on it lie beside it in ``xa30-fsl``. PyHySCO (GPL-3) is a yardstick only: install it into an
environment of its own (``pip install PyHySCO==0.0.4``) and put it on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "lib"), str(ROOT / "tests" / "unit" / "preprocess" / "dwi")]

import epi_head  # noqa: E402

from scan2map.config import check_block  # noqa: E402
from scan2map.images import load_image, save_image  # noqa: E402
from scan2map.preprocess.dwi.susceptibility import estimate_field  # noqa: E402

TOPUP_SECONDS = 88.0  # xa30, two cores, one run
XA30_READOUT_S = 0.0475693


def embedded(images: np.ndarray, affine: np.ndarray, time_s: float) -> np.ndarray:
    """This project's displacement of a j-, j pair, in voxels."""
    return estimate_field(images, affine, ("j-", "j"), (time_s, time_s), check_block("fieldmap", {})).field_hz * time_s


def pyhysco(images: np.ndarray, affine: np.ndarray, time_s: float) -> np.ndarray:
    """PyHySCO's displacement with its own defaults, in voxels; its nodes are averaged to voxel centres."""
    from EPI_MRI.EPIMRIDistortionCorrection import DataObject, EPIMRIDistortionCorrection
    from EPI_MRI.Preconditioners import JacobiCG
    from optimization.GaussNewton import GaussNewton

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{index}.nii.gz" for index in range(2)]
        for path, image in zip(paths, images, strict=True):
            save_image(path, image, affine)
        data = DataObject(*paths, 2)
        loss = EPIMRIDistortionCorrection(data, alpha=300, beta=1e-4, PC=JacobiCG)
        optimizer = GaussNewton(loss, max_iter=50, path=f"{folder}/log")
        optimizer.run_correction(loss.initialize(blur_result=True))
    nodes = optimizer.Bc.reshape([int(n) + (axis == 2) for axis, n in enumerate(data.m)]).permute(data.p).numpy()
    return -(nodes[:, 1:] + nodes[:, :-1]) / 2 / float(data.h[-1])


def peers() -> dict[str, Callable]:
    """The solvers that can run here."""
    found = {"scan2map": embedded}
    try:
        import EPI_MRI  # noqa: F401
    except ImportError:
        print("PyHySCO is not installed: left out")
    else:
        found["PyHySCO 0.0.4"] = pyhysco
    return found


def timed(solve: Callable, *arguments) -> tuple[np.ndarray, float]:
    """Result and wall time in seconds."""
    start = time.perf_counter()
    return solve(*arguments), time.perf_counter() - start


def line(*cells) -> None:
    """Print one row of the table."""
    print("".join(f"{cell:<18}" for cell in cells), flush=True)


def bench_head(solvers: dict[str, Callable]) -> None:
    """Simulated head, 3 mm, SNR 20, shifts up to 4 voxels: error and time."""
    epi_head.VOXEL_MM, epi_head.SHAPE = 3.0, (64, 80, 60)
    scan = epi_head.simulate(shift_voxels=4)
    print(f"\nSimulated head, {scan.images.shape[1:]} voxels of 3 mm, SNR 20, shifts up to 4 voxels")
    line("solver", "RMSE (voxels)", "r", "seconds", "time ratio")
    first = None
    for name, solve in solvers.items():
        shift, seconds = timed(solve, scan.images, scan.affine, scan.times_s[0])
        first = first or seconds
        truth, found = scan.field_hz[scan.brain] * scan.times_s[0], shift[scan.brain]
        error, agreement = np.sqrt(((found - truth) ** 2).mean()), np.corrcoef(found, truth)[0, 1]
        line(name, f"{error:.3f}", f"{agreement:.4f}", f"{seconds:.1f}", f"{seconds / first:.1f}")


def read_xa30(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """First b0 of the AP and PA series, and their affine."""
    import dcm2niix

    images = []
    with tempfile.TemporaryDirectory() as work:
        for number in ("17", "10"):
            (source,) = (folder / "In").glob(f"{number}_*")
            subprocess.run([dcm2niix.bin, "-f", number, "-o", work, source], check=True, capture_output=True)
            images.append(load_image(f"{work}/{number}.nii"))
    return np.stack([image.data[..., 0] for image in images]), images[0].affine


def bench_xa30(solvers: dict[str, Callable], folder: Path) -> None:
    """Real head: agreement with TOPUP's field, and time against TOPUP's."""
    images, affine = read_xa30(folder)
    results = folder.with_name("xa30-fsl")
    brain = load_image(results / "b0_mask.nii.gz").data > 0
    topup = load_image(results / "field.nii.gz").data * XA30_READOUT_S
    print(f"\nxa30, {images.shape[1:]} voxels of 3 mm; TOPUP {TOPUP_SECONDS:g} s on two cores")
    line("solver", "r with TOPUP", "sd (voxels)", "seconds", "TOPUP / this")
    for name, solve in solvers.items():
        shift, seconds = timed(solve, images, affine, XA30_READOUT_S)
        agreement, spread = np.corrcoef(shift[brain], topup[brain])[0, 1], (shift - topup)[brain].std()
        line(name, f"{agreement:.4f}", f"{spread:.3f}", f"{seconds:.1f}", f"{TOPUP_SECONDS / seconds:.1f}")


def main() -> None:
    """Print the tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--xa30", type=Path, default=Path(os.environ.get("SCAN2MAP_XA30", "absent")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    solvers = peers()
    bench_head(solvers)
    if (arguments.xa30 / "In").is_dir():
        bench_xa30(solvers, arguments.xa30)
    else:
        print("xa30 is absent: left out")


if __name__ == "__main__":
    main()
