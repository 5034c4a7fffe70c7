"""Seconds and memory of one fused 256 × 256 × 26 volume with the shipped package, guided and not.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_ctmr_fusion.py [device] [slices]

Times are measured on a stack of ``slices`` (default 2; 26 is the whole volume) of 256 × 256 voxels with one thread, and
multiplied by 26 / slices: slices are denoised one by one and the cost of the lesion head is even along them. Memory is
that of two sampling steps of the whole volume: the largest resident size of the process on a CPU, of the tensors on a
GPU.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import torch

from scan2map.systems.ctmr_fusion.guidance import Regions, make_guide
from scan2map.systems.ctmr_fusion.training import SCALE, draw_images
from scan2map.training.package import load_package

PACKAGE = Path("resources/models/ctmr_fusion")
PLANE, FULL_SLICES = (256, 256), 26
STEPS = (20, 50)
MEMORY_STEPS = 2  # the lesion head speaks in the second


def random_scan(slices: int, channels: int, device: str) -> tuple[torch.Tensor, Regions]:
    """A condition and regions of the shapes of a scan: brain in three eighths of the plane, some bone, one lesion."""
    generator = torch.Generator(device).manual_seed(1)
    shape = (1, 1, *PLANE, slices)
    seen = 2 * torch.rand((1, channels, *PLANE, slices), generator=generator, device=device) - 1
    masks = [torch.zeros(shape, device=device) for _ in range(3)]
    brain, bone, lesion = masks
    brain[:, :, 64:192, 32:224], bone[:, :, 38:64, 32:224], lesion[:, :, 100:120, 100:120] = 1, 1, 1
    return seen, Regions(SCALE * seen[:, :1], SCALE * seen[:, -1:], brain, bone, lesion)


def seconds(package, device: str, slices: int, steps: int, guided: bool) -> float:
    """Wall time of one image of so many slices."""
    network = package.members[0]
    seen, regions = random_scan(slices, 3, device)
    guide = make_guide(regions, package.settings["guidance"], network.lesion_probability) if guided else None
    begin = time.perf_counter()
    draw_images(network, seen, package.settings["sampling"], 1, guide, steps)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak_mb(device: str) -> float:
    """Largest memory so far."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return torch.cuda.max_memory_allocated() / 2**20


def main(device: str = "cpu", slices: str = "2") -> None:
    """Print the table."""
    torch.set_num_threads(1)
    package, measured = load_package(PACKAGE, device), int(slices)
    note = "measured" if measured == FULL_SLICES else f"scaled up from {measured} slices"
    with torch.inference_mode():
        for guided in (False, True):
            words = "guided" if guided else "unguided"
            for steps in STEPS:
                taken = seconds(package, device, measured, steps, guided) * FULL_SLICES / measured
                print(f"{words:10}{steps:4} steps {taken:8.0f} s per volume ({note})", flush=True)
            seconds(package, device, FULL_SLICES, MEMORY_STEPS, guided)
            print(f"{words:10} peak memory {peak_mb(device):6.0f} MB (whole volume, measured)", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
