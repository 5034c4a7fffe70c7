"""What the other files share: the checked configuration, the roots of the result tree, and who runs."""

import time
from functools import cache

from scan2map import config as settings
from scan2map import doctor, follow_up, status, tables
from scan2map.bids.names import bids_path
from scan2map.versions import step_version

STARTED_S = time.time()
BIDS = "<results>/bids"
DERIVATIVES = "<results>/derivatives/scan2map"
TRUTH = "<results>/derivatives/phantom"

config.update(settings.check_config(config))
DATASETS = [
    "scan2map",
    *["phantom"] * (config["input"]["kind"] == "phantom"),
    *config["learning"]["systems"],
]
BOOTSTRAP = {
    "confidence": config["validation"]["confidence"],
    "resamples": config["validation"]["resamples"],
    "seed": config["study"]["seed"],
}
SUBJECT_ROWS = tables.read_table(config["input"]["participants"], "participants")


wildcard_constraints:
    subject="[A-Za-z0-9]+",
    session="[A-Za-z0-9]+",


def derivative(datatype, suffix, extension=".nii.gz", root=DERIVATIVES, **entities):
    """Path of a derivative of {subject} and {session}."""
    name = bids_path(
        datatype, suffix, extension, sub="{subject}", ses="{session}", **entities
    )
    return f"{root}/{name}"


def environment(*engines):
    """Environment of a step that FSL may do: FSL's programs are run by packages that nothing else needs."""
    return f"../../envs/{'fsl' if {'fsl', 'bet'} & set(engines) else 'imaging'}.yaml"


@cache
def intake():
    """The tables of the inventory. Raises until they are made, which tells Snakemake to wait for them."""
    return checkpoints.build_inventory.get().output


def bids_files(role):
    """Input function: the BIDS files that play a role in the wildcards' session."""

    def lookup(wildcards):
        table = intake().files
        return status.files_of(table, wildcards.subject, wildcards.session, role)

    return lookup


@cache
def runnable(inventory, modality):
    """The sessions that run a modality, read once per inventory and Snakemake process."""
    return dict.fromkeys(
        status.runnable(inventory, modality, config["pathvars"]["logs"])
    )


def sessions(modality):
    """The (subject, session) pairs that run a modality: complete at intake, and no failed step since."""
    return list(runnable(intake().inventory, modality))


def runs(wildcards, part):
    """Whether the wildcards' session runs a modality, ``multidelay`` (series with several delays), or a learned system."""
    session = (wildcards.subject, wildcards.session)
    if part in LEARNING.models:
        return part in predicted(*session)
    if part == "multidelay":
        return runs(wildcards, "asl") and has_delays(*session)
    return session in runnable(intake().inventory, part)


def predicts(system, subject, session):
    """Whether a session has what a system's prediction reads, and no step of it has failed."""
    needs = LEARNING.description(system)
    failed = status.failed_steps(config["pathvars"]["logs"])
    return (
        all(
            (subject, session) in runnable(intake().inventory, name)
            for name in needs.modalities
        )
        and all(
            status.files_of(intake().files, subject, session, role)
            for role in needs.roles
        )
        and (subject, session, system) not in failed
    )


def predicted(subject, session):
    """The systems that predict for a session."""
    return [system for system in LEARNING.systems if predicts(system, subject, session)]


def sessions_of(subject, system):
    """The sessions of a subject that a system can learn from; none where it learns from digital subjects."""
    needs = LEARNING.description(system)
    if needs.cohort == "phantom":
        return []
    found = [session for name, session in sessions("anat") if name == subject]
    return [session for session in found if predicts(system, subject, session)]


def delay_files(suffix, extension=".nii.gz", **entities):
    """Input function: a derivative of every series with several delays that the wildcards' session has."""

    def lookup(wildcards):
        present = [
            name for name, role in DELAY_ROLES.items() if bids_files(role)(wildcards)
        ]
        paths = [
            derivative("perf", suffix, extension, acq=name, **entities)
            for name in present
        ]
        return expand(paths, subject=wildcards.subject, session=wildcards.session)

    return lookup


def has_delays(subject, session):
    """Whether a session has a series with several delays."""
    table = intake().files
    return any(
        status.files_of(table, subject, session, role) for role in DELAY_ROLES.values()
    )


def multidelay_sessions():
    """The sessions that run ASL and have a series with several delays: as lists ``subject`` and ``session``."""
    pairs = [pair for pair in sessions("asl") if has_delays(*pair)]
    return {"subject": [one for one, _ in pairs], "session": [one for _, one in pairs]}
