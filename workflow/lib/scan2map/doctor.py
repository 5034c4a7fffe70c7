"""Everything a run needs and does not find, listed at once before the first job."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from scan2map.errors import SettingError, ToolError
from scan2map.tables import dicom_folder

INTAKE_PROGRAMS = {
    "dcm2niix": "converts DICOM to NIfTI",
    "bidscoiner": "sorts series into BIDS",
    "bids-validator-deno": "checks the BIDS data set",
}

# Snakemake's ways to deploy software that do not take it from the environment of the driver.
OWN_SOFTWARE = ("CONDA", "APPTAINER")
# Said where a GPU is asked for and the check runs in an environment without torch (conda).
UNSEEN = "The GPU was not looked at: there is no torch in this environment; each job looks before it starts."


def missing_programs(config: dict) -> list[str]:
    """The programs of the intake that are not on PATH (nothing is needed for input that is BIDS already)."""
    if config["input"]["kind"] == "bids":
        return []
    return [
        f"the program {name} ({use}) is not on PATH" for name, use in INTAKE_PROGRAMS.items() if not shutil.which(name)
    ]


def wants_gpu(config: dict) -> bool:
    """Whether anything in the study is to run on a GPU."""
    return config["study"]["device"] != "cpu" or any(
        model["compute"]["device"] != "cpu" for model in _models(config).values()
    )


def _models(config: dict) -> dict[str, dict]:
    """The settings of the study's learned systems."""
    from scan2map.training.settings import load_model

    settings = config["learning"]
    return {name: load_model(name, settings["overrides"].get(name)) for name in settings["systems"]}


def missing_device(config: dict) -> list[str]:
    """A message when the configured device cannot be used on this machine."""
    if config["study"]["device"] == "cpu":
        return []
    import torch

    return [] if torch.cuda.is_available() else ["study.device is cuda, but torch finds no GPU on this machine"]


def missing_model_devices(config: dict) -> list[str]:
    """What the study's learned systems lack on this machine: the device and the precision that their settings name."""
    from scan2map.training import devices

    found = _models(config).items()
    return [f"{name}: {problem}" for name, model in found for problem in devices.missing(model["compute"])]


def missing_fsl(config: dict, *, deployed: bool = False) -> list[str]:
    """What the FSL engine lacks, when the configuration asks for it."""
    from scan2map.tools.fsl import missing_tools

    return missing_tools(config, packages=not deployed)


def missing_bone_engine(config: dict) -> list[str]:
    """What TotalSegmentator lacks, if the configuration names it."""
    bone = config["ctmr"]["bone"]
    if bone["engine"] != "totalsegmentator":
        return []
    from scan2map.tools.commands import find_program
    from scan2map.tools.totalsegmentator import PROGRAM, check_weights

    found = []
    for check in (lambda: check_weights(bone["weights"]), lambda: find_program(PROGRAM, PROGRAM)):
        try:
            check()
        except (SettingError, ToolError) as error:
            found.append(str(error))
    return found


def missing_inputs(config: dict, participants: list[dict]) -> list[str]:
    """Input folders of the table of subjects that do not exist."""
    if config["input"]["kind"] != "dicom":
        return []
    folders = {f"sub-{row['subject']} ses-{row['session']}": dicom_folder(row) for row in participants}
    return [f"{who}: the folder {folder} does not exist" for who, folder in folders.items() if not folder.is_dir()]


def missing_atlases(config: dict, participants: list[dict]) -> list[str]:
    """Label images of the subjects' own atlases that do not exist."""
    from scan2map.preprocess.anat.native_paths import missing_native_atlases

    scans = [(row["subject"], row["session"]) for row in participants]
    return missing_native_atlases(config["anat"]["native_atlases"], scans)


def devices_can_be_told(config: dict) -> bool:
    """Whether this process can look at the devices: the environment of the intake has no torch."""
    return not wants_gpu(config) or find_spec("torch") is not None


def problems(config: dict, participants: list[dict]) -> list[str]:
    """Every problem that would stop a run or a session, each as one sentence."""
    return [
        *missing_programs(config),
        *(missing_device(config) + missing_model_devices(config) if devices_can_be_told(config) else []),
        *missing_fsl(config),
        *missing_bone_engine(config),
        *missing_inputs(config, participants),
        *missing_atlases(config, participants),
    ]


def brings_software(methods) -> bool:
    """Whether one of Snakemake's ways to deploy software gives the jobs programs and packages of their own."""
    return any(method.name in OWN_SOFTWARE for method in methods)


def require_engines(config: dict, *, local: bool = True, deployed: bool = False) -> None:
    """Stop before the first job when an engine or a device that the configuration names is not there.

    Args:
        config: the checked configuration.
        local: jobs run on this machine; elsewhere each job looks at its own device before it starts.
        deployed: jobs bring their software (conda, a container); what this process has says nothing about it.

    Raises:
        SettingError: everything that is missing, at once.
    """
    missing = [] if deployed else missing_programs(config)
    missing += [*missing_fsl(config, deployed=deployed), *missing_bone_engine(config)]
    missing += missing_model_devices(config) if local and devices_can_be_told(config) else []
    if missing:
        raise SettingError("Not ready to run:\n  - " + "\n  - ".join(missing))


def check(config: dict, participants: list[dict]) -> str:
    """A sentence that all is there.

    Raises:
        SettingError: something is missing; the message lists everything at once.
    """
    found = problems(config, participants)
    if found:
        raise SettingError("Not ready to run:\n  - " + "\n  - ".join(found))
    ready = f"Ready: {len(participants)} sessions, device {config['study']['device']}, all programs found."
    return ready if devices_can_be_told(config) else f"{ready} {UNSEEN}"
