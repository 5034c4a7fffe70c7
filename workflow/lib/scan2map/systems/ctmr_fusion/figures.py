"""Figures of the validation with the numbers behind them: fused images by lesion size, sampling steps, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from scan2map.evaluation.calibration import BINS
from scan2map.evaluation.lesion_scores import NO_LESION, STRATA_ML
from scan2map.evaluation.long_table import read_table, write_table
from scan2map.reporting.plots import image_of_voxels, pyplot, save_figure
from scan2map.systems.ctmr_fusion.composite import roi_composite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scan2map.systems.ctmr_fusion.evaluate import Case
    from scan2map.training.package import Package

STRATA = (NO_LESION, *STRATA_ML)
IMAGE = {"cmap": "gray", "vmin": -2, "vmax": 2}
COLUMNS = {
    "mri": ("MRI (FLAIR)", IMAGE),
    "ct": ("CT, bone window", IMAGE),
    "composite": ("ROI composite", IMAGE),
    "one_pass": ("U-Net in one pass", IMAGE),
    "fused": ("fused by diffusion", IMAGE),
    "lesion": ("lesion probability", {"cmap": "magma", "vmin": 0, "vmax": 1}),
    "uncertainty": ("standard deviation", {"cmap": "viridis", "vmin": 0, "vmax": 0.1}),
}
SHOWN_HU = -500.0  # air around the head is left out of the table
STEP_PANELS = {
    "brain_ssim": "brain similarity",
    "bone_psnr": "bone noise ratio (dB)",
    "seconds": "seconds per 256 × 256 × 26 volume",
}
GUIDED = " guided"
COLOURS = {"unguided": "#0072b2", "guided": "#d55e00"}
COVERED = {"coverage_50": 0.5, "coverage_90": 0.9}


class Fused(NamedTuple):
    """A test scan and its images by column, each (x, y, z)."""

    case: Case
    images: dict[str, np.ndarray]


def strata_cases(test: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Case]:
    """The first test scan of each stratum of lesion volume, smallest lesions first."""
    from scan2map.systems.ctmr_fusion.cohort import load_heads
    from scan2map.systems.ctmr_fusion.evaluate import build_case
    from scan2map.systems.ctmr_fusion.training import NO_JITTER
    from scan2map.training.evaluate import subject_of

    found: dict[str, Case] = {}
    for number, (path, head) in enumerate(zip(test, load_heads(test), strict=True)):
        case = build_case(head, subject_of(path), number, settings, NO_JITTER)
        found.setdefault(case.stratum, case)
    return {stratum: found[stratum] for stratum in STRATA if stratum in found}


def fuse(case: Case, package: Package, one_pass: Package, settings: Mapping[str, Any]) -> Fused:
    """Every image of a test scan that the figure shows."""
    from scan2map.systems.ctmr_fusion.evaluate import Scorer

    scene, scorer = case.scene, Scorer(package.members, settings, "cpu")
    drawn = scorer.draw(case, settings["sampling"]["ensemble"])
    plain = Scorer(one_pass.members, {**one_pass.settings, "evaluation": settings["evaluation"]}, "cpu").draw(case, 1)
    images = {
        "mri": scene.mri,
        "ct": case.bone_ct,
        "composite": roi_composite(scene.mri, case.bone_ct, scene.bone),
        "one_pass": plain.mean(0)[0, 0].numpy(),
        "fused": drawn.mean(0)[0, 0].numpy(),
        "lesion": scorer.probabilities(drawn, case)[0],
        "uncertainty": scorer.uncertainty(drawn),
    }
    return Fused(case, images)


def image_numbers(fused: Mapping[str, Fused]) -> pd.DataFrame:
    """All images in the voxels of the head of one slice per stratum: where most lesion is, or the middle."""
    parts = []
    for stratum, (case, images) in fused.items():
        sizes = case.scene.lesion.sum((0, 1))
        z = int(sizes.argmax()) if sizes.any() else len(sizes) // 2
        x, y = np.nonzero(case.scene.ct[..., z] > SHOWN_HU)
        columns = {name: np.round(image[x, y, z], 4) for name, image in images.items()}
        shown = {"stratum": stratum, "subject": case.subject, "x": x, "y": y} | columns
        parts.append(pd.DataFrame(shown | {"expert": case.scene.lesion[x, y, z].astype(int)}))
    return pd.concat(parts, ignore_index=True)


def plot_images(numbers: pd.DataFrame) -> Figure:
    """One row per stratum, one column per image; the expert's lesion is outlined."""
    strata = list(numbers["stratum"].unique())
    size = (1.75 * len(COLUMNS), 2.2 * len(strata) + 0.4)
    figure, panels = pyplot().subplots(len(strata), len(COLUMNS), figsize=size, layout="constrained", squeeze=False)
    for line, stratum in zip(panels, strata, strict=True):
        rows = numbers[numbers["stratum"] == stratum]
        expert = np.nan_to_num(image_of_voxels(rows, "expert"))
        for axes, (column, (_, colours)) in zip(line, COLUMNS.items(), strict=True):
            shown = axes.imshow(image_of_voxels(rows, column), origin="lower", **colours)
            axes.set(xticks=[], yticks=[], facecolor="black")
            axes.grid(visible=False)
            if column in ("fused", "lesion") and expert.any():
                axes.contour(expert, levels=[0.5], colors="#56b4e9", linewidths=0.7)
            if stratum == strata[-1] and column in ("fused", "lesion", "uncertainty"):
                figure.colorbar(shown, ax=axes, location="bottom", shrink=0.9)
        line[0].set_ylabel(stratum)
    for axes, (words, _) in zip(panels[0], COLUMNS.values(), strict=True):
        axes.set_title(words, fontsize="medium")
    return figure


def step_numbers(table: pd.DataFrame, own: str) -> pd.DataFrame:
    """Scores and time of one test scan over sampling steps, guided or not."""
    rows = table[(table["variant"] == own) & table["condition"].str.startswith("steps=", na=False)].copy()
    rows = rows[rows["metric"].isin(STEP_PANELS)]
    rows["guidance"] = np.where(rows["condition"].str.endswith(GUIDED), "guided", "unguided")
    rows["steps"] = rows["condition"].str.removeprefix("steps=").str.removesuffix(GUIDED).astype(int)
    return rows[["metric", "guidance", "steps", "value", "subject"]].sort_values(["metric", "guidance", "steps"])


def plot_steps(numbers: pd.DataFrame) -> Figure:
    """One panel per score."""
    figure, panels = pyplot().subplots(1, len(STEP_PANELS), figsize=(11.4, 3.4), layout="constrained")
    for axes, (metric, label) in zip(panels, STEP_PANELS.items(), strict=True):
        for guidance, rows in numbers[numbers["metric"] == metric].groupby("guidance", sort=False):
            axes.plot(rows["steps"], rows["value"], "o-", color=COLOURS[guidance], label=guidance)
        axes.set(xscale="log", xlabel="DDIM steps", ylabel=label)
        levels = np.unique(numbers["steps"])
        axes.set_xticks(levels, [f"{level}" for level in levels])
        axes.minorticks_off()
    panels[0].legend(frameon=False)
    return figure


def reliability_numbers(fused: Mapping[str, Fused]) -> pd.DataFrame:
    """Mean lesion probability and share of lesion in the brain voxels of all shown scans, by bin of probability."""
    inside = [case.scene.brain for case, _ in fused.values()]
    found = np.concatenate([one.images["lesion"][mask] for one, mask in zip(fused.values(), inside, strict=True)])
    truth = np.concatenate([one.case.scene.lesion[mask] for one, mask in zip(fused.values(), inside, strict=True)])
    place = np.minimum((found * BINS).astype(int), BINS - 1)
    rows = pd.DataFrame({"bin": place, "said": found, "seen": truth.astype(float)}).groupby("bin")
    means = rows.mean().assign(voxels=rows.size()).reset_index()
    return means.assign(figure="reliability")[["figure", "said", "seen", "voxels"]]


def coverage_numbers(table: pd.DataFrame, own: str) -> pd.DataFrame:
    """Share of brain voxels inside the 50 % and 90 % intervals, by subject."""
    rows = table[(table["variant"] == own) & table["metric"].isin(COVERED)]
    columns = {"said": rows["metric"].map(COVERED), "seen": rows["value"], "voxels": rows["n"]}
    return pd.DataFrame({"figure": "coverage"} | columns | {"subject": rows["subject"]})


def plot_calibration(numbers: pd.DataFrame) -> Figure:
    """Lesion probability against the share of lesion, and intervals against what they cover."""
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(8.4, 3.8), layout="constrained")
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8)
    rows = numbers[numbers["figure"] == "reliability"]
    left.scatter(rows["said"], rows["seen"], s=8 + 12 * np.log10(rows["voxels"]), color=COLOURS["unguided"])
    left.set(xlabel="lesion probability", ylabel="share of lesion", title="one point per bin, larger: more voxels")
    rows = numbers[numbers["figure"] == "coverage"]
    for level in COVERED.values():
        right.fill_between([level - 0.04, level + 0.04], level - 0.05, level + 0.05, color="#dddddd")
    right.scatter(rows["said"], rows["seen"], s=22, alpha=0.8, color=COLOURS["unguided"])
    right.set(xlabel="level of the interval", ylabel="share of brain voxels inside", title="one point per subject")
    return figure


def plot_fusion(tables: Sequence, packages: Mapping[str, Any], test: Sequence, *, own: str, settings, outputs) -> None:
    """Write the figures, each with its numbers as TSV of the same name.

    Args:
        tables: evaluations.
        packages: folders, of the system (``own``) and of the one-pass U-Net (``one_pass``).
        test: data-set files of held-out heads.
        own: name of the system's own variant in the tables.
        settings: of the system; its block ``evaluation`` places the slices.
        outputs: pictures to write: ``images``, ``steps``, ``calibration``.
    """
    import torch

    from scan2map.training.package import load_package

    package, one_pass = (load_package(packages[name]) for name in ("own", "one_pass"))
    settings = package.judged_by(settings)
    table = pd.concat([read_table(path) for path in tables], ignore_index=True)
    with torch.inference_mode():
        cases = strata_cases([Path(path) for path in test], settings)
        fused = {stratum: fuse(case, package, one_pass, settings) for stratum, case in cases.items()}
    calibration = pd.concat([reliability_numbers(fused), coverage_numbers(table, own)], ignore_index=True)
    numbers = {"images": image_numbers(fused), "steps": step_numbers(table, own), "calibration": calibration}
    drawers = {"images": plot_images, "steps": plot_steps, "calibration": plot_calibration}
    for name, draw in drawers.items():
        write_table(numbers[name], Path(outputs[name]).with_suffix(".tsv"))
        save_figure(draw(numbers[name]), outputs[name])
