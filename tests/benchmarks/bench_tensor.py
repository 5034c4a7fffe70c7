"""Voxels per second of the tensor fit, against DIPY's own loop and MRtrix3's dwi2tensor with the same weights.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_tensor.py [voxels] [threads]

DIPY: ``TensorModel(fit_method="WLS")``. MRtrix3 (where ``dwi2tensor`` is on the PATH): ``-ols -iter 1``, which is the
same two-pass fit, file reading and writing included. Times are the best of three runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

VOLUMES = 64
REPEATS = 3


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


def best_time(action) -> float:
    """Shortest wall time of a few runs, s."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def time_ours(signal, b_values, directions, threads: int) -> float:
    """This project's batched fit with its eigenvectors, s."""
    import torch

    from scan2map.preprocess.dwi.tensor import decompose, design_matrix, fit_wls

    torch.set_num_threads(threads)
    design = design_matrix(b_values, directions)
    return best_time(lambda: decompose(fit_wls(signal, design)[:, :6], 0.0))


def time_dipy(signal, b_values, directions) -> float:
    """DIPY's fit with its eigenvectors, s."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    model = TensorModel(gradient_table(b_values, bvecs=directions), fit_method="WLS", min_signal=1.0)
    return best_time(lambda: model.fit(signal).evals)


def time_mrtrix(signal, b_values, directions, threads: int) -> float | None:
    """dwi2tensor and tensor2metric (value and vector) on files, s; None where MRtrix3 is absent."""
    if not shutil.which("dwi2tensor"):
        return None
    import nibabel as nib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        image = signal.reshape(-1, 1, 1, signal.shape[1]).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), path / "dwi.nii")
        np.savetxt(path / "grad.txt", np.column_stack([directions, b_values]))
        options = ["-nthreads", str(threads), "-quiet", "-force"]
        fit = ["dwi2tensor", "dwi.nii", "dt.nii", "-grad", "grad.txt", "-ols", "-iter", "1", *options]
        maps = ["tensor2metric", "dt.nii", "-value", "v.nii", "-vector", "e.nii", "-num", "1,2,3", *options]

        def run():
            for command in (fit, maps):
                subprocess.run(command, cwd=path, check=True)

        return best_time(run)


def main(voxels: int = 100_000, threads: int = 1) -> None:
    """Print one line per program."""
    data = simulate(voxels)
    ours = time_ours(*data, threads)
    results = {"scan2map": ours, "dipy": time_dipy(*data), "MRtrix3": time_mrtrix(*data, threads)}
    print(f"{voxels} voxels x {VOLUMES} volumes, {threads} thread(s)")
    for name, seconds in results.items():
        if seconds is None:
            print(f"{name:10s} not installed")
            continue
        print(f"{name:10s} {voxels / seconds:12,.0f} voxels/s   {seconds / ours:6.2f} x the time of scan2map")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
