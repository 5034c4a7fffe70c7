"""Versions of the external programs that a configuration uses, for provenance and the methods text."""

from __future__ import annotations

from scan2map.tools import bidscoin, dcm2niix
from scan2map.tools.commands import package_version
from scan2map.tools.fsl import eddy_program, find_fsl, needed_steps


def fsl_versions(config: dict) -> dict[str, str]:
    """FSL's release and the eddy program that runs, where the configuration uses them.

    Raises:
        ToolError: FSL is used and not found.
    """
    steps = needed_steps(config)
    if not steps:
        return {}
    fsl = find_fsl()
    versions = {"FSL": fsl.version, "nipype": package_version("nipype"), "fslpy": package_version("fslpy")}
    if "eddy" in steps:
        versions["eddy program"] = eddy_program(fsl, config["fsl"]["eddy"])
    return versions


def ingest_versions(config: dict) -> dict[str, str]:
    """The programs of the intake; none for input that is BIDS already.

    Raises:
        ToolError: a program is not installed.
    """
    if config["input"]["kind"] == "bids":
        return {}
    return {
        "dcm2niix": dcm2niix.version(),
        "BIDScoin": bidscoin.version(),
        "bids-validator": package_version("bids-validator-deno"),
    }


def external_versions(config: dict) -> dict[str, str]:
    """Name and version of every external program that the configuration uses.

    Raises:
        ToolError: one of them is not found.
    """
    return {**ingest_versions(config), **fsl_versions(config)}
