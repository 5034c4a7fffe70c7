"""Time of the embedded diffusion steps on a series of 96 x 96 x 60 x 64, and of the tensor fit against its peers.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_dwi.py [threads] [device]

Prints susceptibility, motion and eddy, tensor (in all and per volume), then the table of ``bench_tensor.py``. The
series is a smooth head without motion: the steps do the same work whatever they find. MRtrix3 (Debian package
``mrtrix3``) is compared where its programs are on the PATH.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

import bench_tensor
import numpy as np

SHAPE = (96, 96, 60)
AFFINE = np.diag([-2.3, 2.3, 2.3, 1.0])
VOLUMES = 64
READOUT_S = 0.05


@contextmanager
def timed(name: str, results: dict):
    """Note wall time and processor time of a block, s."""
    start, busy = time.perf_counter(), time.process_time()
    yield
    results[name] = np.array([time.perf_counter() - start, time.process_time() - busy])


def simulate():
    """Volumes (t, x, y, z), b-values, directions and a brain mask."""
    rng = np.random.default_rng(0)
    x, y, z = (np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2) * 2.3
    mask = (x / 65) ** 2 + (y / 80) ** 2 + (z / 55) ** 2 < 1
    texture = 1 + 0.4 * np.sin(x / 5) * np.cos(y / 6) * np.sin(z / 7)
    directions = rng.normal(size=(VOLUMES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    b_values = np.where(np.arange(VOLUMES) % 16 == 0, 0.0, 1000.0)
    directions[b_values == 0] = 0
    fibre = np.stack([np.sin(x / 20), np.cos(y / 25), np.sin(z / 15)])
    fibre /= np.linalg.norm(fibre, axis=0)
    signal = np.stack(
        [np.exp(-b * (5e-4 + 9e-4 * np.tensordot(g, fibre, 1) ** 2)) for b, g in zip(b_values, directions, strict=True)]
    )
    volumes = 1000 * mask * texture * signal + np.abs(rng.normal(0, 15, (VOLUMES, *SHAPE)))
    return volumes.astype(np.float32), b_values, directions, mask


def main(threads: int = 1, device: str = "cpu") -> None:
    """Print the time of every step and per volume."""
    import torch

    from scan2map import config
    from scan2map.preprocess.dwi.correct import correct_scan
    from scan2map.preprocess.dwi.gradients import GradientTable
    from scan2map.preprocess.dwi.motion import Scan
    from scan2map.preprocess.dwi.susceptibility import estimate_field
    from scan2map.preprocess.dwi.tensor import fit_tensor

    torch.set_num_threads(threads)
    dwi, fieldmap = (config.defaults(config.load_schema(block)) for block in ("dwi", "fieldmap"))
    volumes, b_values, directions, mask = simulate()
    gradients, results = GradientTable(b_values, directions), {}
    with timed("susceptibility", results):
        pair = [volumes[0], np.roll(volumes[0], 1, axis=1)]
        field = estimate_field(pair, AFFINE, ["j", "j-"], [READOUT_S] * 2, fieldmap, device)
    scan = Scan(
        torch.as_tensor(volumes, device=device),
        AFFINE,
        gradients,
        ("j",) * VOLUMES,
        (READOUT_S,) * VOLUMES,
        torch.as_tensor(field.field_hz, dtype=torch.float32, device=device),
    )
    with timed("motion and eddy", results):
        corrected = correct_scan(scan, mask, dwi["motion"])
    with timed("tensor", results):
        fit_tensor(corrected.data, mask, corrected.gradients, AFFINE, device)
    print(f"{' x '.join(map(str, (*SHAPE, VOLUMES)))}, {threads} thread(s), {device}")
    for name, (wall, busy) in {**results, "together": sum(results.values())}.items():
        per_volume = f"{1000 * wall / VOLUMES:8.0f} ms per volume (processor {1000 * busy / VOLUMES:.0f} ms)"
        print(f"{name:16s} {wall:8.1f} s {per_volume}")
    bench_tensor.main(threads=threads)


if __name__ == "__main__":
    main(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[1:]))
