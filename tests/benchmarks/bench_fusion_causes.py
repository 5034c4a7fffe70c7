"""Why the document's fusion failed: its three mistakes one by one, at thumbnail size.

    PYTHONPATH=workflow/lib python tests/benchmarks/bench_fusion_causes.py [design ...]

Two digital heads train, a third is scored: 32 × 32 × 8 voxels of 6.5 × 6.5 × 5 mm, 100 steps of two scans. Designs:
``sound``; ``sampler`` (the sound network, sampled by DDPM's step on a strided schedule); ``pooled`` (conditions as one
vector each); ``target`` (mean of MRI and CT as the target); ``document`` (all three, one CT window). The last column is
the mean absolute difference to the target that each design was trained on: small there and poor elsewhere means that
the design learned what it was told.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import torch

from scan2map.config import check_block, load_system_schema
from scan2map.evaluation.fusion_scores import fusion_scores
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion.cohort import Head, head_arrays
from scan2map.systems.ctmr_fusion.composite import simple_fusions
from scan2map.systems.ctmr_fusion.scenes import Scene, draw_scene
from scan2map.systems.ctmr_fusion.training import FusionModule, Slabs, build_network, condition, draw_images
from scan2map.training.module import rate_factor
from scan2map.training.stream import generator

DATA = {"voxel_size_mm": [6.5, 6.5, 5.0], "matrix": [32, 32, 16], "seed": 1}
STEPS, BATCH, RATE = 100, 2, 3e-3
OPTIONS = {"schedule": "cosine", "warmup_steps": 8, "max_steps": STEPS}
POOLED, AVERAGE, SINGLE = {"network": {"design": "pooled"}}, {"target": "average"}, {"windows": "single"}
STRIDED = {"sampling": {"sampler": "strided_ddpm"}}
DESIGNS = {
    "sound": ({},), "sampler": (STRIDED,), "pooled": (POOLED,), "target": (AVERAGE,),
    "document": (POOLED, AVERAGE, SINGLE, STRIDED),
}  # fmt: skip


def settings_of(design: str) -> dict[str, Any]:
    """Settings of a design, every key filled in."""
    found: dict[str, Any] = {"data": DATA, "network": {"channels": [8, 16], "lesion_width": 4}, "loss": {"lesion": 0}}
    found = copy.deepcopy(found)
    for change in DESIGNS[design]:
        for key, value in change.items():
            found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
    return check_block("ctmr_fusion", found, load_system_schema("ctmr_fusion"))


def build_heads() -> list[Head]:
    """Two heads to learn from, one to score."""
    heads = []
    for subject in ("L01", "L02", "L17"):
        arrays = head_arrays(subject, DATA)
        heads.append(Head(*(arrays[name].astype(np.float32) for name in ("fractions", "hounsfield")),
                          np.array(DATA["voxel_size_mm"])))  # fmt: skip
    return heads


def train(heads: list[Head], settings: dict[str, Any]) -> torch.nn.Module:
    """The network of the settings after a short training."""
    torch.manual_seed(1)
    network, slabs = build_network(settings), Slabs(heads, settings)
    module = FusionModule(network, OPTIONS, settings)
    optimiser = torch.optim.AdamW(network.denoiser.parameters(), RATE)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = RATE * rate_factor(step, OPTIONS)
        drawn = [slabs(generator(1, BATCH * step + i)) for i in range(BATCH)]
        batch = {name: torch.from_numpy(np.stack([one[name] for one in drawn])) for name in drawn[0]}
        module.image_losses(batch)["image"].backward()
        optimiser.step()
        optimiser.zero_grad()
    return network.eval()


def score(image: np.ndarray, scene: Scene, kind: str) -> str:
    """The figures of an image as columns."""
    bone_ct = apply_window(scene.ct, BONE_WINDOW)
    found = fusion_scores(image, scene.mri, bone_ct, scene.brain, scene.bone)
    error = np.abs(image - scene.target(kind)).mean()
    return f"{found['brain_ssim']:12.3f}{min(found['bone_psnr'], 80):12.1f}{found['qabf']:10.3f}{error:12.3f}"


def main(designs: list[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    *heads, test = build_heads()
    still = {"snr": 30, "noise_hu": 4, "jitter": {"shift_mm": 0, "turn_deg": 0, "share": 0}}
    scene = draw_scene(test, still, generator(7, 0), [15.0])
    scene = Scene(*(part[..., 4:12] for part in scene[:-1]), scene.voxel_mm)
    print(f"{'':16}{'brain SSIM':>12}{'bone dB':>12}{'Qabf':>10}{'to target':>12}")
    for design in designs:
        settings = settings_of(design)
        network = train(heads, settings)
        seen = torch.from_numpy(condition(scene.mri, scene.ct, settings["windows"]))[None]
        with torch.inference_mode():
            image = draw_images(network, seen, settings["sampling"], 1)[0, 0, 0].numpy()
        print(f"{design:16}{score(image, scene, settings['target'])}", flush=True)
    bone_ct = apply_window(scene.ct, BONE_WINDOW)
    for name, image in simple_fusions(scene.mri, bone_ct, scene.bone).items():
        print(f"{name:16}{score(image, scene, 'composite')}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(DESIGNS))
