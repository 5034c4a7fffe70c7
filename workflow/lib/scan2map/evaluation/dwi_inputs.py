"""Conditions of the diffusion experiments, and which files the comparison with FSL reads. Light: the rules use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from scan2map.errors import SettingError

# Conditions of the experiments on simulated scans.
CONDITIONS = ("susceptibility", "motion", "rotation", "outliers")
# Names that TOPUP (--fout, --iout), BET and DTIFIT (-o dt) give their results.
FSL_FILES = {
    "fsl_field": "field.nii.gz",
    "fsl_b0": "b0u.nii.gz",
    "fsl_mask": "b0_mask.nii.gz",
    "fsl_FA": "dt_FA.nii.gz",
    "fsl_MD": "dt_MD.nii.gz",
}
# The steps whose time stands against TOPUP's and eddy's.
TIMED_STEPS = ("estimate_field", "correct_motion")


def fsl_files(folder: str | None) -> dict[str, str]:
    """Files of FSL's results on the study's scan by what they hold; none where no folder is given.

    Args:
        folder: ``validation.fsl_reference``; environment variables in it are filled in.

    Raises:
        SettingError: the folder names an environment variable that is not set.
    """
    if folder is None:
        return {}
    path = os.path.expandvars(folder)
    if "$" in path:
        raise SettingError(
            "The folder of FSL's results is not known (validation.fsl_reference)",
            found=folder,
            remedy="set the environment variable, write the path, or leave the key out",
        )
    return {key: str(Path(path).expanduser() / name) for key, name in FSL_FILES.items()}


def compared_files(derivative: Callable[..., str]) -> dict[str, str]:
    """The rail's results that are compared with FSL's.

    Args:
        derivative: the workflow's function from entities to a path.
    """
    maps = {key: derivative("dwi", "dwimap", model="DTI", param=key) for key in ("FA", "MD")}
    return maps | {
        "mask": derivative("dwi", "mask", desc="brain"),
        "field": derivative("fmap", "fieldmap", desc="pepolar"),
        "b0": derivative("fmap", "epi", desc="corrected"),
        "uncorrected_b0": derivative("fmap", "epi", desc="uncorrected"),
        "acquisition": derivative("fmap", "acquisition", ".tsv", desc="merged"),
    }


def timed_files(benchmarks: str, subject: str, session: str) -> list[str]:
    """Benchmark files of the timed steps of one session."""
    return [f"{benchmarks}/{step}/sub-{subject}_ses-{session}.tsv" for step in TIMED_STEPS]
