"""Memory and speed of the tensor network: a full 2 mm brain through it, and a step of training.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_bssfp_dti.py [small|full] [threads]

`small` is the scale of config/models/bssfp_dti.yaml, `full` has the document's 51 million weights. A brain of 2 mm in
windows as the settings have them; training steps of the generator (forward and backward) at the settings' patch and
batch, in single and mixed precision, with and without channels-last memory, and the time to draw the patches beside it.
Peak memory is that of a process which did nothing else. On the CPU processor time counts; where there is a GPU, all of
it runs there as well, by wall time.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch

from scan2map.systems import load_system
from scan2map.systems.bssfp_dti.mean_brain import packed
from scan2map.systems.bssfp_dti.patches import Patches, as_subject
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.training.settings import load_model, variant_of
from scan2map.training.stream import generator

BRAIN_VOXELS = (76, 92, 76)  # 152 x 184 x 152 mm
STEPS = 3
CONSTANTS = {
    "channels": {"magnitude": 3.0, "t1w": 1.5},
    "elements": {kind: {"diagonal": [-1.3, 1.1], "off_diagonal": [-0.7, 0.7]} for kind in ("log", "raw")},
    "mean_brain": packed(np.zeros((7, 64, 64, 64))),
}


def synthetic_brain() -> dict[str, np.ndarray]:
    """Arrays of a data-set file: an ellipsoid with random signal."""
    rng = np.random.default_rng(1)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in BRAIN_VOXELS), indexing="ij"))
    mask = (place**2).sum(0) < 1
    tensor = np.float16([1, 0.1, 0, 0.8, 0, 0.7]).reshape(6, 1, 1, 1) * mask
    return {
        "bssfp": (rng.uniform(0.5, 1.5, (1, 24, *BRAIN_VOXELS)) * mask).astype(np.float16),
        "tensor": tensor[None],
        "t1w": mask.astype(np.float32),
        "mask": mask.astype(np.uint8),
        "template_mm": (70 * place).astype(np.float32),
        "registered_mm": (70 * place).astype(np.float32),
    }


def clock(device: str) -> float:
    """Processor time on the CPU, wall time on a GPU once it has finished."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_mb(device: str) -> float:
    """Largest memory of this process, or that torch took of the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def infer(settings: dict, device: str) -> str:
    """A whole brain through the network."""
    network = load_system("bssfp_dti").network(settings, CONSTANTS).eval().to(device)
    arrays, before = synthetic_brain(), peak_mb("cpu")
    start = clock(device)
    Translator(network, settings, CONSTANTS, device).scaled(arrays, 0)
    return f"{clock(device) - start:7.1f} s, peak {peak_mb(device):6.0f} MB (before it {before:.0f} MB)"


def train(settings: dict, device: str, mixed: bool, channels_last: bool, batch: int) -> str:
    """Forward and backward of the generator, and the time to draw its patches."""
    network = load_system("bssfp_dti").network(settings, CONSTANTS).to(device)
    draw = Patches([as_subject(synthetic_brain(), "pc_bssfp", "log", 2.0)], "pc_bssfp", settings["patches"])
    count = STEPS * batch
    start = clock("cpu")
    samples = [draw(generator(1, number)) for number in range(count)]
    drawn_s = (clock("cpu") - start) / count
    image = torch.stack([samples[number]["image"] for number in range(batch)]).to(device)
    if settings["network"]["prior_points"]:
        image = torch.cat([image, torch.stack([samples[n]["place"] for n in range(batch)]).to(device)], dim=1)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            found = network(image, "pc_bssfp")
        found.float().square().mean().backward()

    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    with mock.patch.object(torch, "channels_last_3d", layout):
        step()
        start = clock(device)
        for _ in range(STEPS):
            step()
        seconds = (clock(device) - start) / STEPS
    share = drawn_s * batch / (drawn_s * batch + seconds)
    return f"{batch / seconds:7.2f} samples/s, patches take {share:4.0%} of both, peak {peak_mb(device):6.0f} MB"


def alone(action: Callable, *arguments) -> str:
    """The answer of a process of its own, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (action.__name__, torch.get_num_threads(), *arguments))


def run(name: str, threads: int, *arguments) -> str:
    """Call one of the measurements with its threads."""
    torch.set_num_threads(threads)
    return globals()[name](*arguments)


def main(scale: str, threads: int) -> None:
    """Print every figure of a scale."""
    torch.set_num_threads(threads)
    chosen = variant_of("bssfp_dti", load_model("bssfp_dti"), {"small": "single", "full": "full"}[scale])
    settings, batch = chosen["settings"], chosen["training"]["batch_size"]
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        print(f"{scale}, {device}, brain of {BRAIN_VOXELS} voxels: {alone(infer, settings, device)}", flush=True)
        for mixed in (False, True):
            for channels_last in (False, True):
                words = f"{'bf16' if mixed else 'fp32'}, {'channels last ' if channels_last else 'channels first'}"
                found = alone(train, settings, device, mixed, channels_last, batch)
                print(f"{scale}, {device}, training, {words}: {found}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "small", int(sys.argv[2]) if len(sys.argv) > 2 else 1)
