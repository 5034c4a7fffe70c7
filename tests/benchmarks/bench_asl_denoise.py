"""Milliseconds per 128 × 128 slice of the denoising network, beside classical filters and the arithmetic limit.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_asl_denoise.py [package] [threads]

The scan has 17 slices; a disc of 64 voxels across is the brain. The arithmetic limit is the number of multiplications
and additions of the network over the speed of the fastest large matrix product of that precision on the same processor,
measured in this run; no memory traffic, no activation. One convolution of the network's width is measured beside it.
Ways that are tried: float32 and bfloat16, channels last, few slices at once (so that activations stay in the cache),
torch.compile (where a C++ compiler is found), ONNX Runtime (where it is installed), the whole matrix and the box around
the brain alone, which is what prediction computes. Times are the best of several runs: on the CPU processor time over
the number of threads (what an idle machine takes), on a GPU wall time. Errors: root mean square difference to float32.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import nn

from scan2map.models.guided_denoiser import WIDTHS_VOXELS, reach_voxels
from scan2map.systems.asl_denoise.anatomy import as_guide
from scan2map.systems.asl_denoise.baselines import gaussian, non_local_means, total_variation
from scan2map.systems.asl_denoise.tiles import denoise, estimate_noise, with_guide
from scan2map.training.package import load_package

SLICES, SIDE, BRAIN_RADIUS = 17, 128, 32
REPEATS, SIGMA = 3, 0.3
GEMM_SIDE = 2048


class Timing(NamedTuple):
    """Milliseconds per slice, and the difference from the float32 result (NaN where it is another method)."""

    name: str
    ms: float
    error: float = float("nan")


def best_ms(action: Callable[[], torch.Tensor], device: str) -> tuple[float, torch.Tensor]:
    """Shortest time per slice of a few runs after one that warms up, ms, and what the action returns."""
    found, times = action(), []
    for _ in range(REPEATS):
        start = time.process_time() if device == "cpu" else time.perf_counter()
        found = action()
        if device == "cuda":
            torch.cuda.synchronize()
        stop = time.process_time() if device == "cpu" else time.perf_counter()
        times.append((stop - start) / (torch.get_num_threads() if device == "cpu" else 1))
    return 1000 * min(times) / SLICES, found


def scan() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy slices (17, 1, 128, 128), their anatomy (17, 3, 128, 128) and mask."""
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    mask = (place[:, None] ** 2 + place[None] ** 2 < BRAIN_RADIUS**2).float().expand(SLICES, 1, SIDE, SIDE)
    generator = torch.Generator().manual_seed(1)
    tissue = torch.softmax(4 * torch.randn(SLICES, 3, SIDE, SIDE, generator=generator), dim=1)
    guide = as_guide(0.8 + 0.2 * tissue[:, :1], tissue, mask)
    return (0.7 + SIGMA * torch.randn(mask.shape, generator=generator)) * mask, guide, mask


def operations(network: nn.Module) -> int:
    """Floating-point operations of one whole slice: two per multiplication with a weight."""
    weights = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d))
    # Five products of two images each, smoothed along rows and columns over each neighbourhood.
    smoothing = 5 * 2 * sum(2 * reach_voxels(width) + 1 for width in WIDTHS_VOXELS) if network.guides else 0
    return 2 * (weights + smoothing) * SIDE * SIDE


def peak_gflops(dtype: torch.dtype, device: str) -> float:
    """Speed of a large matrix product, 10⁹ operations per second."""
    first = torch.randn(GEMM_SIDE, GEMM_SIDE, device=device).to(dtype)
    ms, _ = best_ms(lambda: first @ first, device)
    return 2 * GEMM_SIDE**3 / (ms * SLICES / 1000) / 1e9


def convolution_gflops(filters: int, dtype: torch.dtype, device: str) -> float:
    """Speed of one 3 × 3 convolution from and to so many filters, channels last, 10⁹ operations per second."""
    layer = nn.Conv2d(filters, filters, 3, padding=1).to(device, dtype, memory_format=torch.channels_last)
    image = torch.randn(SLICES, filters, SIDE, SIDE, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    ms, _ = best_ms(lambda: layer(image), device)
    return 2 * layer.weight.numel() * SIDE * SIDE / (ms / 1000) / 1e9


def eager_ways(network: nn.Module, noisy: torch.Tensor, device: str) -> Iterator[Timing]:
    """Whole slices through PyTorch: precision and memory layout."""
    reference = network(noisy)
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        for layout, words in ((torch.contiguous_format, ""), (torch.channels_last, ", channels last")):
            changed = network.to(dtype=dtype, memory_format=layout)
            given = noisy.to(dtype=dtype, memory_format=layout)
            ms, found = best_ms(lambda net=changed, image=given: net(image), device)
            yield Timing(f"{name}{words}", ms, float((found.float() - reference).square().mean().sqrt()))
        ms, found = best_ms(lambda net=changed, image=given: estimate_noise(net, image), device)
        yield Timing(f"{name}, few slices at once", ms, float((found.float() - reference).square().mean().sqrt()))
    network.to(dtype=torch.float32, memory_format=torch.contiguous_format)


def compiled_way(network: nn.Module, noisy: torch.Tensor, device: str) -> Iterator[Timing]:
    """torch.compile, in both precisions."""
    if device == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        print("torch.compile: no C++ compiler here")
        return
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        network.to(dtype)
        compiled, given = torch.compile(network), noisy.to(dtype)
        ms, _ = best_ms(lambda net=compiled, image=given: net(image), device)
        yield Timing(f"torch.compile {name}", ms)
    network.to(torch.float32)


def onnx_way(network: nn.Module, given: torch.Tensor) -> Iterator[Timing]:
    """ONNX Runtime on the CPU."""
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        print("ONNX Runtime: not installed here")
        return
    import io

    import onnxruntime

    buffer = io.BytesIO()
    torch.onnx.export(network, (given,), buffer, input_names=["given"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(buffer.getvalue(), options)
    reference = network(given)
    ms, found = best_ms(lambda: torch.from_numpy(session.run(None, {"given": given.numpy()})[0]), "cpu")
    yield Timing("ONNX Runtime float32", ms, float((found - reference).square().mean().sqrt()))


def filters(noisy: torch.Tensor, mask: torch.Tensor) -> Iterator[Timing]:
    """Classical filters of whole slices."""
    ways = {
        "Gaussian 1 px": lambda: gaussian(noisy, mask, 1.0),
        "non-local means (dipy)": lambda: non_local_means(noisy, mask, SIGMA),
        "total variation": lambda: total_variation(noisy, mask, SIGMA),
    }
    for name, action in ways.items():
        yield Timing(name, best_ms(action, "cpu")[0])


@torch.inference_mode()
def main(package: str = "resources/models/asl_denoise", threads: str = "1") -> None:
    """Print one line per way."""
    torch.set_num_threads(int(threads))
    noisy, guide, mask = scan()
    for device in ["cpu", *["cuda"] * torch.cuda.is_available()]:
        loaded = load_package(package, device)
        network, width = loaded.members[0], loaded.settings["network"]["filters"]
        given, inside = with_guide(network, noisy, guide).to(device), mask.to(device)
        peaks = {name: peak_gflops(getattr(torch, name), device) for name in ("float32", "bfloat16")}
        limits = {name: operations(network) / peak / 1e6 for name, peak in peaks.items()}
        print(f"\n{device}, {threads} thread(s): {operations(network) / 1e9:.2f} GFLOP per 128 × 128 slice")
        for name, peak in peaks.items():
            layer = convolution_gflops(width, getattr(torch, name), device)
            print(f"{name}: matrix product {peak:.0f} GFLOP/s, one convolution {layer:.0f} GFLOP/s")
            print(f"{name}: arithmetic limit {limits[name]:.3f} ms per slice")
        ways = [*eager_ways(network, given, device), *compiled_way(network, given, device)]
        ways += onnx_way(network, given) if device == "cpu" else []
        for way in ways:
            limit = limits["bfloat16" if "bfloat16" in way.name else "float32"]
            print(f"{way.name:32s} {way.ms:9.2f} ms  {way.ms / limit:5.2f} x limit  error {way.error:.1e}")
        parts = noisy.to(device), guide.to(device), inside
        boxed, _ = best_ms(lambda net=network, known=parts: denoise(net, *known), device)
        print(f"{'as predicted (box, float32)':32s} {boxed:9.2f} ms")
    for way in filters(noisy, mask):
        print(f"{way.name:32s} {way.ms:9.2f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
