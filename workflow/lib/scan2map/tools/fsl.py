"""The site's FSL: where it is, which version, which of its programs a configuration needs, and what is missing.

FSL is found through FSLDIR and run as programs of its own; nothing of it is imported or shipped.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from scan2map.errors import ToolError

PYTHON_PACKAGES = {"nipype": "runs FSL's programs", "fsl.transform": "reads FSL's transforms (package fslpy)"}
CPU_EDDY_PROGRAMS = ("eddy_cpu", "eddy_openmp", "eddy")  # FSL from 6.0.6, from 5.0.9, and older or wrapping releases
# Schedules in FSLDIR/etc/flirtsch and the largest factor by which they subsample: every matrix size must divide by it.
# The schedule that epi_reg hands to FLIRT.
BOUNDARY_SCHEDULE = "bbr.sch"
TOPUP_CONFIGURATIONS = {"b02b0_4.cnf": 4, "b02b0_2.cnf": 2, "b02b0_1.cnf": 1}


@dataclass(frozen=True)
class Fsl:
    """An FSL installation.

    Attributes:
        folder: FSLDIR.
    """

    folder: Path

    @property
    def version(self) -> str:
        """Release as FSL records it in etc/fslversion, for example ``6.0.7.13``; ``unknown`` without that file."""
        record = self.folder / "etc" / "fslversion"
        text = record.read_text().strip() if record.is_file() else ""
        return text.splitlines()[0] if text else "unknown"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that FSL's programs read."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", os.defpath)])
        return {"FSLDIR": str(self.folder), "FSLOUTPUTTYPE": "NIFTI_GZ", "PATH": path}

    def has(self, program: str) -> bool:
        """Whether the program can be run."""
        return os.access(self.folder / "bin" / program, os.X_OK)

    def has_configuration(self, name: str) -> bool:
        """Whether FSL ships this schedule of TOPUP or FLIRT."""
        return (self.folder / "etc" / "flirtsch" / name).is_file()

    def cuda_eddy_programs(self) -> list[str]:
        """All CUDA builds of eddy, the newest first."""
        found = [path.name for path in (self.folder / "bin").glob("eddy_cuda*") if self.has(path.name)]
        return sorted(found, key=_numbers, reverse=True)


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def find_fsl() -> Fsl:
    """The FSL that FSLDIR names.

    Raises:
        ToolError: FSLDIR is not set or names no folder.
    """
    folder = os.environ.get("FSLDIR", "")
    if not folder or not Path(folder).is_dir():
        raise ToolError(
            "FSL is not found",
            found=f"FSLDIR={folder}" if folder else "FSLDIR is not set",
            allowed="the folder of an FSL installation",
            remedy="load the site's FSL module or set FSLDIR; or set the engines to embedded",
        )
    return Fsl(Path(folder))


def eddy_program(fsl: Fsl, settings: dict) -> str:
    """The eddy program that the settings ask for.

    Args:
        fsl: the installation.
        settings: block ``fsl.eddy``.

    Raises:
        ToolError: there is no such program; another device is never taken instead.
    """
    cuda = settings["device"] == "cuda"
    wanted = settings["program"]
    candidates = fsl.cuda_eddy_programs() if cuda else list(CPU_EDDY_PROGRAMS)
    if wanted != "auto":
        candidates = [wanted] if wanted.startswith("eddy_cuda") == cuda else []
    found = [name for name in candidates if fsl.has(name)]
    if not found:
        raise ToolError(
            f"FSL has no eddy program for fsl.eddy.device {settings['device']} and fsl.eddy.program {wanted}",
            found=", ".join(sorted(path.name for path in (fsl.folder / "bin").glob("eddy*"))) or "none",
            allowed="eddy_cuda*" if cuda else ", ".join(CPU_EDDY_PROGRAMS),
            remedy="change fsl.eddy.device or fsl.eddy.program, or install that build",
        )
    return found[0]


def needed_steps(config: dict) -> set[str]:
    """Which FSL steps a configuration uses: ``topup``, ``eddy`` (and tensor), ``bet``, ``registration`` (of ASL)."""
    dwi = config.get("dwi", {})
    steps = {
        "topup": config.get("fieldmap", {}).get("engine") == "fsl",
        "eddy": dwi.get("engine") == "fsl",
        "bet": dwi.get("mask", {}).get("method") == "bet",
        "registration": config.get("asl", {}).get("registration", {}).get("engine") == "fsl",
    }
    return {name for name, used in steps.items() if used}


def _missing_topup(fsl: Fsl, settings: dict) -> list[str]:
    chosen = settings["topup"]["configuration"]
    names = TOPUP_CONFIGURATIONS if chosen == "auto" else [chosen]
    files = [
        f"the TOPUP schedule etc/flirtsch/{name} (FSL 6.0 has it)" for name in names if not fsl.has_configuration(name)
    ]
    return [*_missing_programs(fsl, "topup", "applytopup"), *files]


def _missing_eddy(fsl: Fsl, settings: dict) -> list[str]:
    eddy = settings["eddy"]
    problems = _missing_programs(fsl, "dtifit", *(["eddy_quad"] if eddy["quality_report"] else []))
    try:
        eddy_program(fsl, eddy)
    except ToolError as error:
        problems.append(str(error))
    if eddy["slice_to_volume_order"] and eddy["device"] != "cuda":
        problems.append("fsl.eddy.slice_to_volume_order needs fsl.eddy.device: cuda")
    return problems


def _missing_bet(fsl: Fsl, settings: dict) -> list[str]:
    return _missing_programs(fsl, "bet")


def _missing_registration(fsl: Fsl, settings: dict) -> list[str]:
    if settings["registration"]["program"] == "flirt":
        return _missing_programs(fsl, "flirt")
    schedule = (
        []
        if fsl.has_configuration(BOUNDARY_SCHEDULE)
        else [f"the schedule etc/flirtsch/{BOUNDARY_SCHEDULE} is not in FSLDIR"]
    )
    return [*_missing_programs(fsl, "epi_reg", "flirt", "fslmaths", "applywarp"), *schedule]


def _missing_programs(fsl: Fsl, *names: str) -> list[str]:
    return [f"the FSL program {name} is not in FSLDIR/bin" for name in names if not fsl.has(name)]


CHECKS = {
    "topup": _missing_topup,
    "eddy": _missing_eddy,
    "bet": _missing_bet,
    "registration": _missing_registration,
}


def _missing_packages() -> list[str]:
    return [
        f"the Python package {name} ({use}) is not installed"
        for name, use in PYTHON_PACKAGES.items()
        if not _is_installed(name)
    ]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def missing_tools(config: dict, *, packages: bool = True) -> list[str]:
    """Everything that the FSL engine lacks for a configuration, each as one sentence; empty when FSL is not used.

    Args:
        config: the checked configuration; read are ``fieldmap.engine``, ``dwi.engine``, ``dwi.mask.method``,
            ``asl.registration.engine``, ``fsl``.
        packages: look for the Python packages too; jobs with an environment of their own have theirs there.
    """
    steps = needed_steps(config)
    if not steps:
        return []
    problems = _missing_packages() if packages else []
    try:
        fsl = find_fsl()
    except ToolError as error:
        return [*problems, str(error)]
    for name in sorted(steps):
        problems += CHECKS[name](fsl, config["fsl"])
    return problems
