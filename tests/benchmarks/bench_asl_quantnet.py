"""Seconds per whole volume (64 × 64 × 24) of the network, beside batched and SciPy least squares, in one run.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_asl_quantnet.py [package] [threads]

The signals are six PCASL and six VSASL delays of smooth random perfusion and transit times at SNR 5, nothing is masked.
The network is the package (default resources/models/asl_quantnet): all its members, features included. Batched fit is
``preprocess.asl.fit``. SciPy fits some of the voxels one by one (bounded, two starts) and is scaled up to the volume.
Where there is a GPU, network and batched fit run there as well. Times are the best of two runs, on the CPU processor
time (with one thread what an idle machine takes), on a GPU wall time; the errors show that the methods solved the same
problem.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

from scan2map.physics.asl_kinetics import LabelDesign, difference_signals
from scan2map.preprocess.asl.fit import fit_kinetic
from scan2map.systems.asl_quantnet.session import predict_volume, slice_labelling
from scan2map.training.package import load_package

SHAPE = (64, 64, 24)
DELAYS = np.arange(0.5, 3.01, 0.5)
SNR, REPEATS, SCIPY_VOXELS = 5.0, 2, 200
SMOOTHNESS = 2.0  # voxels


def simulate() -> tuple[np.ndarray, np.ndarray, LabelDesign]:
    """ΔM/M0 (x, y, z, 12), true perfusion and the design."""
    rng = np.random.default_rng(0)
    design = LabelDesign(
        ("PCASL",) * 6 + ("VSASL",) * 6, np.tile(DELAYS, 2), np.repeat([1.8, np.inf], 6), np.repeat([0.69, 0.48], 6)
    )
    smooth = [gaussian_filter(rng.standard_normal(SHAPE), SMOOTHNESS) for _ in range(2)]
    cbf, att_s = 45 + 15 * smooth[0] / smooth[0].std(), 1.4 + 0.2 * smooth[1] / smooth[1].std()
    cbf = np.clip(cbf, 5, 100)
    clean = np.moveaxis(difference_signals(design, cbf, att_s), 0, -1)
    return (clean + clean.mean() / SNR * rng.standard_normal(clean.shape)).astype(np.float32), cbf, design


def best_time(action: Callable[[], np.ndarray], device: str) -> tuple[float, np.ndarray]:
    """Shortest time of a few runs, s (processor time on the CPU, wall time on a GPU), and what the action returns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(REPEATS):
        start = clock()
        found = action()
        times.append(clock() - start)
    return min(times), found


def time_network(package, difference, design, device: str) -> tuple[float, np.ndarray]:
    """All members on the whole volume: time, s, and perfusion."""
    members = load_package(package, device).members
    mask = np.ones(SHAPE, bool)
    labelling = slice_labelling(design, np.zeros(SHAPE), mask, device)
    return best_time(lambda: predict_volume(members, difference, mask, labelling, device).cbf, device)


def time_batched(difference, design, device: str) -> tuple[float, np.ndarray]:
    """The project's least squares on the whole volume: time, s, and perfusion."""
    data = torch.from_numpy(difference.reshape(-1, len(design)))
    return best_time(lambda: fit_kinetic(data, design, device=device).cbf.cpu().numpy().reshape(SHAPE), device)


def time_scipy(difference, design) -> tuple[float, np.ndarray]:
    """SciPy voxel by voxel on the first voxels, scaled to the volume: time, s, and perfusion of those voxels."""
    voxels = difference.reshape(-1, len(design))[:SCIPY_VOXELS].astype(float)

    def fitted(signal: np.ndarray) -> float:
        def residual(parameters):
            predicted = difference_signals(design, parameters[:1] * 50, parameters[1:])[:, 0]
            return (predicted - signal) / 0.005

        starts = [least_squares(residual, (1.0, att_s), bounds=((0, 0), (5, 4))) for att_s in (0.9, 1.8)]
        return min(starts, key=lambda found: found.cost).x[0] * 50

    start = time.process_time()
    found = np.array([fitted(signal) for signal in voxels])
    return (time.process_time() - start) * np.prod(SHAPE) / SCIPY_VOXELS, found


def main(package: str = "resources/models/asl_quantnet", threads: str = "1") -> None:
    """Print one line per method: time, ratio to SciPy, error."""
    torch.set_num_threads(int(threads))
    difference, cbf, design = simulate()
    devices = ["cpu", *["cuda"] * torch.cuda.is_available()]
    rows = {"SciPy least squares, voxel by voxel": time_scipy(difference, design)}
    for device in devices:
        rows[f"batched least squares, {device}"] = time_batched(difference, design, device)
        rows[f"network, {device}"] = time_network(Path(package), difference, design, device)
    reference = rows["SciPy least squares, voxel by voxel"][0]
    print(f"{'x'.join(map(str, SHAPE))} voxels, {threads} thread(s)")
    for name, (seconds, found) in rows.items():
        error = np.sqrt(np.mean((found.reshape(-1) - cbf.reshape(-1)[: found.size]) ** 2))
        print(f"{name:40s} {seconds:10.2f} s  {reference / seconds:9.1f} x SciPy  CBF RMSE {error:.2f} ml/100g/min")


if __name__ == "__main__":
    main(*sys.argv[1:])
