"""Voxels per second of the multi-delay ASL fit, against scipy's least_squares and asltk's CBFMapping, and their errors.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_asl_fit.py [--asltk PYTHON] [--voxels N] [--snr SNR]

All three fit CBF and ATT to the same signals of six PCASL delays with the same model and the same bounds, one thread
each. The model is asltk's: the general kinetic model with the T1 of blood in tissue and λ = 0.98. scipy and asltk
start from one typical point, with finite differences, and stay in the nearest minimum; this project's fit finds the
lowest one, and with a weak prior of the transit time (the rail's default) the most probable values. Processor time
counts, so that other work on the machine does not. PYTHON is that of an environment with asltk (``asltk==1.1.3``);
without it, one is made for this run. Slow fits get a share of the voxels, and the errors of this project's fit are
printed for the same ones.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np

from scan2map.physics.asl import BLOOD_T1_3T_S, pcasl_difference_kinetic
from scan2map.physics.asl_design import label_design
from scan2map.physics.asl_kinetics import GENERAL_KINETIC, difference_signals
from scan2map.preprocess.asl.fit import FitOptions, fit_kinetic

PLD_S = np.arange(0.5, 3.01, 0.5)
LABEL_DURATION_S = 1.8
PARTITION = 0.98
OPTIONS = FitOptions(model=GENERAL_KINETIC, tissue_t1_s=BLOOD_T1_3T_S)
START = (50.0, 1.2)
SCIPY_VOXELS, ASLTK_VOXELS = 1000, 2000
REPEATS = 3
# Weak knowledge about transit times (s) that one typical start stands for in the other fits.
PRIOR = replace(OPTIONS, att_prior_s=(1.5, 0.7))


def design():
    """Six delays, efficiency as asltk assumes."""
    return label_design("PCASL", PLD_S, LABEL_DURATION_S, efficiency=0.85, partition=PARTITION)


def simulate(voxels: int, snr: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy signals (voxels, volumes), true CBF and ATT: grey matter and white matter, 60 to 40."""
    random = np.random.default_rng(0)
    grey = random.random(voxels) < 0.6
    cbf = np.where(grey, random.uniform(30, 90, voxels), random.uniform(10, 35, voxels))
    att_s = np.where(grey, random.uniform(0.8, 2.2, voxels), random.uniform(1.0, 2.5, voxels))
    signal = difference_signals(design(), cbf, att_s, model=GENERAL_KINETIC, tissue_t1_s=BLOOD_T1_3T_S)
    sigma = signal[:, grey].mean() / snr
    return (signal + random.normal(0, sigma, signal.shape)).T, cbf, att_s


def fit_ours(signals: np.ndarray, options: FitOptions) -> tuple[float, np.ndarray, np.ndarray]:
    """This project's fit: best processor time of a few runs, s, CBF, ATT."""
    import torch

    torch.set_num_threads(1)
    fit_kinetic(signals[:1000], design(), options)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        fit = fit_kinetic(signals, design(), options)
        times.append(time.process_time() - start)
    return min(times), fit.cbf.numpy(), fit.att_s.numpy()


def fit_scipy(signals: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """scipy's trust-region least squares, voxel by voxel: processor time, s, CBF, ATT."""
    from scipy.optimize import least_squares

    bounds = tuple(zip(OPTIONS.cbf_bounds, OPTIONS.att_bounds_s, strict=True))
    unit = np.abs(signals).mean()

    def residual(parameters, signal):
        model = pcasl_difference_kinetic(
            *parameters, PLD_S, LABEL_DURATION_S, BLOOD_T1_3T_S, efficiency=0.85, partition=PARTITION
        )
        return (model - signal) / unit

    start = time.process_time()
    found = [least_squares(residual, START, bounds=bounds, x_scale=START, args=(signal,)).x for signal in signals]
    return time.process_time() - start, *np.array(found).T


def fit_asltk(signals: np.ndarray, python: Path) -> tuple[float, np.ndarray, np.ndarray]:
    """asltk's mapping on one core in its own environment: processor time of the mapping alone, s, CBF, ATT."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "signals.npz", Path(folder) / "result.npz"
        np.savez(
            source, signals=signals, pld_ms=1e3 * PLD_S, label_duration_ms=1e3 * LABEL_DURATION_S, partition=PARTITION,
            cbf_high=OPTIONS.cbf_bounds[1], att_high_s=OPTIONS.att_bounds_s[1],
        )  # fmt: skip
        worker = Path(__file__).with_name("asltk_fit.py")
        subprocess.run([python, worker, source, target], check=True, stdout=subprocess.DEVNULL)
        found = np.load(target)
        return float(found["seconds"]), found["cbf"], found["att_s"]


def make_environment(folder: Path) -> Path:
    """An environment with asltk: path of its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "asltk==1.1.3"], check=True)
    return python


def report(name: str, found, signals: np.ndarray, cbf: np.ndarray, att_s: np.ndarray, first: float | None) -> float:
    """Print one line; returns voxels per second."""
    seconds, found_cbf, found_att = found
    count = len(found_cbf)
    speed = count / seconds
    errors = [np.sqrt(np.mean((a - b[:count]) ** 2)) for a, b in ((found_cbf, cbf), (1e3 * found_att, 1e3 * att_s))]
    model = difference_signals(design(), found_cbf, found_att, model=GENERAL_KINETIC, tissue_t1_s=BLOOD_T1_3T_S)
    cost = np.sum((signals[:count].T - model) ** 2, axis=0)
    ratio = f"{first / speed:8.0f}" if first else "       1"
    print(f"{name:26s} {count:8d} {speed:12.0f} {ratio} {errors[0]:12.3f} {errors[1]:10.1f} {1e6 * cost.mean():12.6f}")
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asltk", type=Path, help="Python of an environment with asltk; one is made if not given")
    parser.add_argument("--voxels", type=int, default=200_000)
    parser.add_argument("--snr", type=float, default=5.0, help="mean grey-matter signal over the noise of one volume")
    arguments = parser.parse_args()
    signals, cbf, att_s = simulate(arguments.voxels, arguments.snr)
    print(f"six delays, SNR {arguments.snr:g}, one thread each, Python {sys.version.split()[0]}")
    print("fit                          voxels     voxels/s  slower     CBF RMSE   ATT RMSE    mean cost")
    speed = report("scan2map, as in the rail", fit_ours(signals, PRIOR), signals, cbf, att_s, None)
    report("scan2map, no prior", fit_ours(signals, OPTIONS), signals, cbf, att_s, speed)
    for count, other in ((SCIPY_VOXELS, "scipy"), (ASLTK_VOXELS, "asltk")):
        for name, options in (("", PRIOR), (", no prior", OPTIONS)):
            found = fit_ours(signals[:count], options)
            report(f"  {other}'s voxels{name}", found, signals, cbf, att_s, speed)
    report("scipy least_squares", fit_scipy(signals[:SCIPY_VOXELS]), signals, cbf, att_s, speed)
    with tempfile.TemporaryDirectory() as folder:
        python = arguments.asltk or make_environment(Path(folder))
        report("asltk 1.1.3", fit_asltk(signals[:ASLTK_VOXELS], python), signals, cbf, att_s, speed)


if __name__ == "__main__":
    main()
