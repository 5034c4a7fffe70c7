"""The input channels of each modality, scaled to about 0 to 1 by constants of the training part.

A scanner's intensity has no unit: magnitudes and T1w values are first taken relative to their mean in the session's
brain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

CYCLES = 12
CHANNELS = {"pc_bssfp": 2 * CYCLES, "single_bssfp": 2 * CYCLES, "t1w": 6, "dt": 6, "template": 12, "template_true": 12}
# The array that tells where a voxel lies in the template: by registration, or in truth.
TEMPLATE_SOURCES = {"template": "registered_mm", "template_true": "template_mm"}
SINGLE_CYCLE = 6  # 180°: the pass band is centred on resonance, as a scanner's ordinary bSSFP
HIGHEST_PERCENTILE = 99.9
# The box of the template that coordinates are scaled with, MNI152 mm.
TEMPLATE_BOX_MM = ((-90.0, 90.0), (-126.0, 90.0), (-72.0, 108.0))


def brain_mean(values: np.ndarray, mask: np.ndarray) -> float:
    """Mean over the brain of an image (x, y, z), or of magnitudes of real and imaginary parts (2·cycles, x, y, z)."""
    inside = values[..., mask].astype(np.float32)
    return float(np.hypot(inside[0::2], inside[1::2]).mean() if inside.ndim > 1 else inside.mean())


def channel_constants(subjects: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Highest magnitude and T1w value of the training part, relative to the mean of each brain.

    Args:
        subjects: arrays ``bssfp`` (sessions, 24, x, y, z), ``t1w``, ``mask`` of each subject.
    """
    magnitude, t1w = [], []
    for arrays in subjects:
        mask = arrays["mask"] > 0
        t1w.append(np.percentile(arrays["t1w"][mask], HIGHEST_PERCENTILE) / brain_mean(arrays["t1w"], mask))
        for session in arrays["bssfp"]:
            inside = session[:, mask].astype(np.float32)
            size = np.hypot(inside[0::2], inside[1::2])
            magnitude.append(np.percentile(size, HIGHEST_PERCENTILE) / size.mean())
    return {"magnitude": float(max(magnitude)), "t1w": float(max(t1w))}


def bssfp_channels(parts: torch.Tensor, mean: float) -> torch.Tensor:
    """Magnitude relative to its mean and phase from 0 to 1 of each cycle in turn.

    Args:
        parts: real and imaginary part of each cycle in turn (24, x, y, z).
        mean: of the magnitude in the brain.
    """
    real, imaginary = parts[0::2], parts[1::2]
    magnitude = torch.hypot(real, imaginary) / mean
    phase = torch.atan2(imaginary, real) / (2 * torch.pi) + 0.5
    return torch.stack([magnitude, phase], dim=1).flatten(0, 1)


def single_cycle(channels: torch.Tensor) -> torch.Tensor:
    """One cycle in the place of all twelve (24, x, y, z)."""
    return channels[2 * SINGLE_CYCLE : 2 * SINGLE_CYCLE + 2].repeat(CYCLES, 1, 1, 1)


def t1w_channels(image: torch.Tensor, mean: float) -> torch.Tensor:
    """The T1w image relative to its mean six times (6, x, y, z)."""
    return (image / mean).expand(CHANNELS["t1w"], *image.shape[-3:])


def template_channels(points_mm: torch.Tensor) -> torch.Tensor:
    """Template coordinates (3, x, y, z) scaled to −1 to 1."""
    ends = torch.tensor(TEMPLATE_BOX_MM)
    low, high = ends[:, 0].view(3, 1, 1, 1), ends[:, 1].view(3, 1, 1, 1)
    return 2 * (points_mm - low) / (high - low) - 1


def image_of(modality: str, raw: Mapping[str, torch.Tensor], means: Mapping[str, float]) -> torch.Tensor:
    """The channels of a modality before :func:`channel_scale`, 0 outside the brain.

    Args:
        modality: ``pc_bssfp``, ``single_bssfp`` or ``t1w``.
        raw: ``bssfp`` (24, x, y, z) or ``t1w`` (1, x, y, z), and ``mask`` (1, x, y, z).
        means: of ``bssfp`` and ``t1w`` in the brain.
    """
    if modality == "t1w":
        return t1w_channels(raw["t1w"], means["t1w"]) * raw["mask"]
    channels = bssfp_channels(raw["bssfp"], means["bssfp"]) * raw["mask"]
    return single_cycle(channels) if modality == "single_bssfp" else channels


def channel_scale(modality: str, constants: Mapping[str, float]) -> torch.Tensor:
    """Factors (channels, 1, 1, 1) that bring the channels of a modality to about 0 to 1.

    Args:
        modality: a key of ``CHANNELS``.
        constants: from :func:`channel_constants`.
    """
    factors = torch.ones(CHANNELS[modality], 1, 1, 1)
    if modality == "t1w":
        factors /= constants["t1w"]
    elif modality in ("pc_bssfp", "single_bssfp"):
        factors[0::2] /= constants["magnitude"]
    return factors


def source_of(modality: str) -> Sequence[str]:
    """The arrays of a subject that the image of a modality is made from; none for a tensor or a place."""
    return {"t1w": ("t1w",), "pc_bssfp": ("bssfp",), "single_bssfp": ("bssfp",)}.get(modality, ())


def points_of(modality: str) -> str:
    """The array that tells where a voxel lies in the template."""
    return TEMPLATE_SOURCES.get(modality, "registered_mm")


def brightness(modality: str, channels: torch.Tensor) -> torch.Tensor:
    """One image (1, x, y, z) that shows the anatomy, of scaled channels: the mean magnitude of all cycles, or T1w."""
    return (channels[0::2] if "bssfp" in source_of(modality) else channels).mean(0, keepdim=True)


def scaled_image(
    arrays: Mapping[str, np.ndarray], session: int, modality: str, constants: Mapping[str, float]
) -> torch.Tensor:
    """Scaled channels of one session of a whole head (channels, x, y, z), 0 outside the brain.

    Args:
        arrays: as in a data set file: ``bssfp`` or ``t1w``, and ``mask``.
        session: number of the bSSFP session.
        modality: ``pc_bssfp``, ``single_bssfp`` or ``t1w``.
        constants: from :func:`channel_constants`.
    """
    brain = arrays["mask"] > 0
    several = {"bssfp": lambda: arrays["bssfp"][session], "t1w": lambda: arrays["t1w"][None]}
    raw = {name: several[name]().astype(np.float32) for name in source_of(modality)}
    means = {name: brain_mean(np.squeeze(values), brain) for name, values in raw.items()}
    raw["mask"] = brain[None].astype(np.float32)
    image = image_of(modality, {name: torch.from_numpy(values) for name, values in raw.items()}, means)
    return image * channel_scale(modality, constants)
