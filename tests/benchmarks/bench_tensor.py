"""Voxels per second of the tensor fit, against DIPY's own loop and MRtrix3's dwi2tensor with the same weights.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_tensor.py [voxels] [threads]

Both comparisons are with the same weights, and print the largest difference of the tensors to show it. DIPY:
``TensorModel(fit_method="WLS")``, ordinary least squares and one reweighting, as the workflow fits. MRtrix3 (where
``dwi2tensor`` is on the PATH): ``-ols -iter 2``, which reweights twice (its ``-iter 1`` returns the ordinary fit),
file reading and writing included. Times are the best of three runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

VOLUMES = 64
REPEATS = 3
ROW = 100  # voxels per line of the image that MRtrix3 reads


def simulate(voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signals (n, t), b-values and directions of random tensors with noise."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(VOLUMES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    b_values = np.where(np.arange(VOLUMES) % 11 == 0, 0.0, 1000.0)
    directions[b_values == 0] = 0
    roots = rng.normal(size=(voxels, 3, 3)) * 0.02
    tensors = roots @ roots.transpose(0, 2, 1) + 2e-4 * np.eye(3)
    exponent = b_values * np.einsum("ti,nij,tj->nt", directions, tensors, directions, optimize=True)
    signal = 1000 * np.exp(-exponent) + rng.normal(0, 25, (voxels, VOLUMES))
    return np.maximum(signal, 1.0), b_values, directions


def best_time(action: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Shortest wall time of a few runs, s, and what the action returns."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        found = action()
        times.append(time.perf_counter() - start)
    return min(times), found


def time_ours(signal, b_values, directions, threads: int, reweightings: int) -> tuple[float, np.ndarray]:
    """This project's batched fit with its eigenvectors: time, s, and tensors (n, 6)."""
    import torch

    from scan2map.preprocess.dwi.tensor import decompose, design_matrix, fit_wls

    torch.set_num_threads(threads)
    design = design_matrix(b_values, directions)

    def run():
        tensor = fit_wls(signal, design, reweightings=reweightings)[:, :6]
        decompose(tensor, 0.0)
        return tensor

    return best_time(run)


def time_dipy(signal, b_values, directions) -> tuple[float, np.ndarray]:
    """DIPY's fit with its eigenvectors: time, s, and tensors (n, 6)."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    model = TensorModel(gradient_table(b_values, bvecs=directions), fit_method="WLS", min_signal=1.0)
    seconds, fit = best_time(lambda: model.fit(signal))
    return seconds, fit.quadratic_form[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def time_mrtrix(signal, b_values, directions, threads: int) -> tuple[float, np.ndarray] | None:
    """dwi2tensor and tensor2metric (values, vectors) on files: time, s, and tensors; None where MRtrix3 is absent."""
    if not shutil.which("dwi2tensor"):
        return None
    import nibabel as nib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        image = signal.reshape(ROW, -1, 1, signal.shape[1]).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), path / "dwi.nii")
        np.savetxt(path / "grad.txt", np.column_stack([directions, b_values]))
        options = ["-nthreads", str(threads), "-quiet", "-force"]
        fit = ["dwi2tensor", "dwi.nii", "dt.nii", "-grad", "grad.txt", "-ols", "-iter", "2", *options]
        maps = ["tensor2metric", "dt.nii", "-value", "v.nii", "-vector", "e.nii", "-num", "1,2,3", *options]

        def run():
            for command in (fit, maps):
                subprocess.run(command, cwd=path, check=True)
            return np.asarray(nib.load(path / "dt.nii").dataobj)

        seconds, tensor = best_time(run)
    return seconds, tensor.reshape(-1, 6)[:, [0, 3, 4, 1, 5, 2]]


def main(voxels: int = 100_000, threads: int = 1) -> None:
    """Print one line per program.

    Args:
        voxels: a multiple of 100.
        threads: of this project and MRtrix3; DIPY has one.
    """
    data = simulate(voxels)
    peers = {"dipy": (time_dipy(*data), 1), "MRtrix3": (time_mrtrix(*data, threads), 2)}
    print(f"{voxels} voxels x {VOLUMES} volumes, {threads} thread(s)")
    for name, (found, reweightings) in peers.items():
        seconds, tensor = time_ours(*data, threads, reweightings)
        print(f"scan2map   {voxels / seconds:12,.0f} voxels/s, {reweightings} reweighting(s)")
        if found is None:
            print(f"{name:10s} not installed")
            continue
        theirs, other = found
        difference = np.abs(other - tensor).max() / np.abs(tensor).max()
        comparison = f"{theirs / seconds:.2f} x the time, tensors within {difference:.0e}"
        print(f"{name:10s} {voxels / theirs:12,.0f} voxels/s, {comparison}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
