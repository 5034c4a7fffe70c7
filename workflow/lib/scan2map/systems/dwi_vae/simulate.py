"""Tissue with known parameters, and scans of it: the clusters of the paper, and the digital head.

A head is scanned in three ways: ``head`` draws signals from the signal model itself (matched physics), ``compartments``
from the head's Gaussian compartments and their directions (the model is then an approximation; its truth is what a
fit to the noise-free signals gives), ``tissue`` is ``head`` without partial volume: every voxel holds the tissue that
has most of it, with a spread of its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scan2map.errors import SettingError
from scan2map.physics.noise import rician_magnitude
from scan2map.systems.dwi_vae.scans import Scan, prepare_scan
from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue, signal_model
from scan2map.systems.dwi_vae.voxels import Acquisition, Voxels, acquisition_of, average_shells, below

# Clusters of the paper: D (mm²/s), K, weight; and voxels beyond them, drawn evenly between these limits.
CLUSTERS = ((1.0e-3, 1.25, 0.5), (1.5e-3, 1.0, 0.4), (3.0e-3, 0.0, 0.1))
CLUSTER_NAMES = ("first", "second", "water", "outside")
OUTSIDE_D, OUTSIDE_K = (0.5e-3, 2.2e-3), (0.2, 1.6)
# A voxel lies outside when it is further from every cluster than this, in units of µm²/ms and of K.
OUTSIDE_DISTANCE = 0.35
TISSUES = ("csf", "gm", "wm")
PURE, BRAIN = 0.9, 0.5  # share of a tissue in a pure voxel; share of brain in a brain voxel
TISSUE_NAMES = ("CSF", "GM", "WM", "mixed", "lesion")
NAMES = {"cluster": CLUSTER_NAMES, "tissue": TISSUE_NAMES[:3], "head": TISSUE_NAMES, "compartments": TISSUE_NAMES}
PREFIX = {"cluster": "cluster_", "tissue": "tissue_"}  # of a source's arrays
HIGHEST_D = 3.2e-3
ECHO_TIME_S = 0.08
FREE_WATER = ("free", "wm_free")  # compartments
TINY = 1e-9


def phantom_acquisition(settings: Mapping[str, Any]) -> Acquisition:
    """The simulated protocol: b = 0 volumes and shells of evenly spread directions."""
    from scan2map.phantom.acquisition.gradients import multi_shell_table

    shells = [{"b_value_s_per_mm2": b, "directions": settings["directions"]} for b in settings["shells_s_per_mm2"]]
    table = multi_shell_table(shells, settings["b0_volumes"])
    return acquisition_of(table.b_values, table.b_vectors)


def draw_clusters(count: int, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of the paper's clusters, and a fifth as many outside them.

    Args:
        count: voxels in clusters.
        spread: standard deviation within a cluster, µm²/ms for D and 1 for K.
        rng: source of randomness.

    Returns:
        D (mm²/s) and K (n, 2), and the number of the cluster (n,); 3 is outside.
    """
    centres = np.array([cluster[:2] for cluster in CLUSTERS])
    label = rng.choice(len(CLUSTERS), count, p=[cluster[2] for cluster in CLUSTERS])
    inside = centres[label] + _spread(count, spread, rng)
    inside[:, 0] = np.clip(inside[:, 0], 1e-4, HIGHEST_D)
    drawn = rng.uniform(*np.transpose([OUTSIDE_D, OUTSIDE_K]), (4 * count, 2))
    distance = np.linalg.norm((drawn[:, None] - centres) / [1e-3, 1.0], axis=-1).min(-1)
    outside = drawn[distance > OUTSIDE_DISTANCE][: count // 5]
    return np.concatenate([inside, outside]), np.concatenate([label, np.full(len(outside), len(CLUSTERS))])


def _spread(count: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Normal deviates of D (mm²/s) and K (count, 2) of a standard deviation in µm²/ms and 1."""
    return spread * rng.standard_normal((count, 2)) * [1e-3, 1.0]


def head_arrays(subject: str, settings: Mapping[str, Any], table: Acquisition) -> dict[str, np.ndarray]:
    """True parameters and noise-free signals of one digital head, brain voxels only.

    Args:
        subject: label without prefix.
        settings: block ``data``.
        table: the protocol.

    Returns:
        ``mask`` (x, y, z); per brain voxel ``s0`` (1 in the mean of white matter), ``label`` (``TISSUE_NAMES``),
        ``msdki`` (D, K), ``msdki_water`` (D and K of what is not free water, its share), ``ball_stick`` (f, D of the
        ball, D of the stick), ``direction``, ``tissue_msdki`` and ``tissue_label`` without partial volume,
        ``compartments``: signals of the protocol relative to b = 0.
    """
    from scan2map.phantom.subject import build_subject
    from scan2map.phantom.tissue import AXON_AXIAL
    from scan2map.physics.diffusion import cumulant_tensor, gaussian_mixture_signal, mean_signal_cumulants

    head = build_subject(subject, {"voxel_size_mm": settings["voxel_size_mm"]}, settings["seed"])
    mask = head.brain > BRAIN
    parts = [part for part in head.compartments() if part.tissue in (*TISSUES, "lesion")]
    weights = [
        part.fraction[mask].astype(float) * head.pd[part.tissue] * np.exp(-ECHO_TIME_S / head.t2_s[part.tissue])
        for part in parts
    ]
    tensors = [part.tensor[mask].astype(float) for part in parts]
    s0 = sum(weights)
    stick = next(index for index, part in enumerate(parts) if part.name == "stick")
    others = [(w, t) for index, (w, t) in enumerate(zip(weights, tensors, strict=True)) if index != stick]
    ball = cumulant_tensor(*zip(*others, strict=True))[:, [0, 3, 5]].mean(-1)
    signals = gaussian_mixture_signal(weights, tensors, table.b_values.numpy(), table.directions.numpy())
    label = _labels(head, mask)
    return {
        "mask": mask,
        "s0": (s0 / s0[label == TISSUE_NAMES.index("WM")].mean()).astype(np.float32),
        "label": label.astype(np.uint8),
        "msdki": np.stack(mean_signal_cumulants(weights, tensors), -1).astype(np.float32),
        "msdki_water": _beside_water(parts, weights, tensors),
        "ball_stick": np.stack([weights[stick] / s0, ball, np.full_like(ball, AXON_AXIAL)], -1).astype(np.float32),
        "direction": head.fibre_direction[mask].astype(np.float32),
        "compartments": (signals / s0[:, None]).astype(np.float32),
        **_one_tissue_each(parts, weights, tensors, np.stack([head.fractions[name][mask] for name in TISSUES])),
    }


def _beside_water(parts, weights, tensors) -> np.ndarray:
    """D and K of what is not free water, and the share of free water (n, 3)."""
    from scan2map.physics.diffusion import mean_signal_cumulants

    free = [part.name in FREE_WATER for part in parts]
    water = sum(weight for weight, one in zip(weights, free, strict=True) if one) / sum(weights)
    # Where there is nothing else, the smallest weight makes D and K those of the mean of all compartments.
    rest = [np.zeros_like(w) if one else w + TINY for w, one in zip(weights, free, strict=True)]
    return np.stack([*mean_signal_cumulants(rest, tensors), water], -1).astype(np.float32)


def _one_tissue_each(parts, weights, tensors, shares) -> dict[str, np.ndarray]:
    """D and K (n, 2) of the tissue that has most of a voxel, and its number (n,)."""
    from scan2map.physics.diffusion import mean_signal_cumulants

    most = shares.argmax(0)
    found = np.zeros((len(most), 2), np.float32)
    for number, tissue in enumerate(TISSUES):
        inside = most == number
        own = [
            (weight[inside], tensor[inside])
            for part, weight, tensor in zip(parts, weights, tensors, strict=True)
            if part.tissue == tissue
        ]
        found[inside] = np.stack(mean_signal_cumulants(*zip(*own, strict=True)), -1)
    return {"tissue_msdki": found, "tissue_label": most.astype(np.uint8)}


def _labels(head, mask: np.ndarray) -> np.ndarray:
    """The tissue that fills a voxel; ``mixed`` where none does."""
    shares = np.stack([head.fractions[name][mask] for name in TISSUES])
    label = np.where(shares.max(0) >= PURE, shares.argmax(0), TISSUE_NAMES.index("mixed"))
    return np.where(head.fractions["lesion"][mask] > BRAIN, TISSUE_NAMES.index("lesion"), label)


def build_subject_file(subject: str, settings: Mapping[str, Any], output: Path) -> None:
    """Write the head and the cluster voxels of one subject."""
    from scan2map.phantom.subject import random_generator
    from scan2map.training.dataset import save_subject

    rng = random_generator(settings["seed"], subject, "dwi_vae")
    clusters, label = draw_clusters(settings["cluster_voxels"], settings["cluster_spread"], rng)
    table = phantom_acquisition(settings)
    arrays = head_arrays(subject, settings, table)
    arrays |= {"b_values": table.b_values.numpy(), "directions": table.directions.numpy()}
    arrays |= {"cluster_msdki": clusters.astype(np.float32), "cluster_label": label.astype(np.uint8)}
    arrays["tissue_msdki"] += _spread(len(arrays["tissue_msdki"]), settings["cluster_spread"], rng)
    arrays["tissue_msdki"][:, 0] = np.clip(arrays["tissue_msdki"][:, 0], 1e-4, HIGHEST_D)
    save_subject(output, arrays, data=dict(settings), subject=subject, measured=False)


def _generator(settings: Mapping[str, Any], subject: str, repeat: int) -> torch.Generator:
    from scan2map.phantom.subject import random_generator

    purpose = (settings["source"], f"snr{settings['snr']:g}", f"repeat{repeat}")
    rng = random_generator(settings["seed"], subject, *purpose)
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _truth(model: SignalModel, arrays: Mapping[str, np.ndarray], source: str) -> tuple[Tissue, np.ndarray]:
    """Parameters without S0 (1) and labels."""
    prefix = PREFIX.get(source, "")
    if prefix + model.name not in arrays:
        raise SettingError(
            f"There is no simulated truth for the model {model.name} from {source}",
            allowed="msdki, and from head or compartments also msdki_water and ball_stick",
            remedy="change settings.model or settings.simulation.source",
        )
    values = torch.from_numpy(arrays[prefix + model.name]).double()
    values = torch.cat([torch.ones(len(values), 1, dtype=torch.float64), values], -1)
    direction = torch.zeros(len(values), 3, dtype=torch.float64)
    if source != "cluster":
        direction = torch.from_numpy(arrays["direction"]).double()
    return Tissue(values, direction), arrays[prefix + "label"]


def _noise_free(model: SignalModel, truth: Tissue, arrays, source: str, acquisition: Acquisition) -> torch.Tensor:
    if source == "compartments":
        return torch.from_numpy(arrays["compartments"]).double()
    blank = torch.zeros(len(truth.values), 1, dtype=torch.float64)
    return model.signal(truth, Voxels(blank, blank, blank, acquisition))


def _apparent(model: SignalModel, signals: torch.Tensor, acquisition, truth: Tissue, b_max: float) -> Tissue:
    """What a fit to the noise-free signals gives: the truth where the model is an approximation."""
    from scan2map.systems.dwi_vae.least_squares import fit_voxels
    from scan2map.systems.dwi_vae.voxels import relative_voxels

    clean = below(relative_voxels(signals, 1e-3, acquisition, truth.direction if model.directional else None), b_max)
    return fit_voxels(model, clean if model.directional else average_shells(clean), "gaussian").tissue


def simulate_scan(
    arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], settings: Mapping[str, Any], repeat: int = 0
) -> Scan:
    """A noisy scan of a subject.

    Args:
        arrays, facts: of the subject's file.
        settings: the system's settings; ``simulation`` says what is scanned, at which signal-to-noise ratio (white
            matter at b = 0 over the standard deviation of one channel).
        repeat: number of the noise realisation.
    """
    model, simulation = signal_model(settings["model"]), settings["simulation"]
    source, acquisition = simulation["source"], acquisition_of(arrays["b_values"], arrays["directions"])
    truth, label = _truth(model, arrays, source)
    clean = _noise_free(model, truth, arrays, source, acquisition)
    s0 = torch.ones(len(clean)) if source == "cluster" else torch.from_numpy(arrays["s0"])
    generator = _generator(simulation, facts["subject"], repeat)
    noise = torch.randn(2, *clean.shape, generator=generator, dtype=torch.float64)
    sigma = 1 / simulation["snr"]
    measured = rician_magnitude(s0.double()[:, None] * clean, sigma, noise[0], noise[1])
    if source == "compartments":
        truth = _apparent(model, clean, acquisition, truth, settings["b_max_s_per_mm2"])
    mask = None if source == "cluster" else arrays["mask"]
    scan = prepare_scan(model, measured, sigma, acquisition, mask, settings)
    return scan.with_truth(truth, torch.from_numpy(np.asarray(label)).long(), NAMES[source])
