"""Voxels per second of the voxel-wise fits, of training and of prediction, beside dipy and SciPy, in one run.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_dwi_vae.py [threads]

A digital head of 8 mm voxels, mean-signal kurtosis from b = 0, 1000 and 2000 s/mm² at SNR 20. Training is the system's
own variant of config/models/dwi_vae.yaml: voxels that pass a step per second, without the preparation of the scan.
SciPy fits some of the voxels one by one. On the CPU processor time counts (with one thread what an idle machine takes);
where there is a GPU, the batched fits and the network run there as well, by wall time. Errors of D in GM and WM show
that the methods solved the same problem.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import default_collate

from scan2map.systems import load_system
from scan2map.systems.dwi_vae.baselines import dipy_of_averages, scipy_least_squares
from scan2map.systems.dwi_vae.evaluate import groups
from scan2map.systems.dwi_vae.least_squares import fit_voxels
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.prediction import predict_scan
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.simulate import build_subject_file
from scan2map.systems.dwi_vae.voxels import Voxels
from scan2map.training.settings import deciding, load_model, variant_of

VOXEL_MM, SCIPY_VOXELS, STEPS, SAMPLES = 8, 60, 60, 32


def timed(device: str, action: Callable) -> tuple[float, object]:
    """Seconds of an action (processor time on the CPU, wall time on a GPU), and what it returns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    found = action()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start, found


def on_device(voxels: Voxels, device: str) -> Voxels:
    """The voxels on a device."""
    parts = {name: getattr(voxels, name).to(device) for name in ("signals", "sigma", "frames")}
    return replace(voxels, **parts, acquisition=voxels.acquisition.to(device))


def train(path: Path, variant: dict, settings: dict, device: str):
    """A network after some steps on the scan, and the voxels per second of the steps."""
    system = load_system("dwi_vae")
    facts = system.normalisation([path], settings)
    module = system.module(settings, facts, variant["training"]).to(device)
    samples, size = system.training_set([path], settings, 1), variant["training"]["batch_size"]
    optimiser = torch.optim.Adam(module.parameters(), variant["training"]["learning_rate"])

    def steps() -> None:
        for number in range(STEPS):
            batch = default_collate([samples[size * number + part] for part in range(size)])
            loss = module.losses({name: value.to(device) for name, value in batch.items()})["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    seconds, _ = timed(device, steps)
    return module.network.eval(), STEPS * size * settings["simulation"]["voxels_per_sample"] / seconds


def error(scan: Scan, values: torch.Tensor, count: int | None = None) -> float:
    """Mean squared error of D in GM and WM, (µm²/ms)²."""
    inside = groups(scan)["tissue"][:count]
    return float(((values[:, 1].cpu() - scan.truth.values[:count, 1])[inside] * 1e3).square().mean())


def main(threads: str = "1") -> None:
    """Print one line per method."""
    torch.set_num_threads(int(threads))
    variant = variant_of("dwi_vae", load_model("dwi_vae"), "spatial")
    settings = deciding(variant["settings"])
    settings = {**settings, "simulation": {**settings["simulation"], "training_snr": []}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sub-L01.safetensors"
        build_subject_file("L01", {**settings["data"], "voxel_size_mm": VOXEL_MM}, path)
        scan = load_scan(path, settings)
        rows = classical(scan)
        for device in ["cpu", *["cuda"] * torch.cuda.is_available()]:
            rows += on(device, scan, path, variant, settings)
    print(f"{len(scan.voxels)} voxels, {threads} thread(s)")
    for name, speed, wrong in rows:
        print(f"{name:44s} {speed:12.0f} voxels/s  D error {wrong:.5f} (µm²/ms)²")


def classical(scan: Scan) -> list[tuple[str, float, float]]:
    """dipy on all voxels, SciPy on some."""
    found = []
    seconds, tissue = timed("cpu", lambda: dipy_of_averages(scan.voxels))
    found.append(("dipy MSDKI", len(scan.voxels) / seconds, error(scan, tissue.values)))
    inside = groups(scan)["tissue"].nonzero()[:SCIPY_VOXELS, 0]
    seconds, values = timed("cpu", lambda: scipy_least_squares(scan.model, scan.voxels.take(inside)))
    wrong = (torch.from_numpy(values)[:, 1] - scan.truth.values[inside, 1]) * 1e3
    found.append(("SciPy least squares, voxel by voxel", len(inside) / seconds, float(wrong.square().mean())))
    return found


def on(device: str, scan: Scan, path: Path, variant: dict, settings: dict) -> list[tuple[str, float, float]]:
    """Batched fits, training and prediction on a device."""
    voxels, count, found = on_device(scan.voxels, device), len(scan.voxels), []
    for noise, name in (("gaussian", "batched NLLS"), ("rician", "batched maximum likelihood")):
        seconds, fit = timed(device, lambda noise=noise: fit_voxels(scan.model, voxels, noise))
        found.append((f"{name}, {device}", count / seconds, error(scan, fit.tissue.values)))
    network, speed = train(path, variant, settings, device)
    seconds, told = timed(device, lambda: predict_scan([network], scan, SAMPLES))
    wrong = error(scan, told.tissue.values)
    found.append((f"training with neighbours ({STEPS} steps), {device}", speed, wrong))
    found.append((f"prediction, {SAMPLES} samples, {device}", count / seconds, wrong))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
