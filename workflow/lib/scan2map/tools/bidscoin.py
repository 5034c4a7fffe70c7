"""BIDScoin, the mapper of DICOM series to BIDS names (GPL-3: run as a program of its own, never imported).

Its exit code says nothing about the data (0 for an unknown series, a failed conversion, a missing subject), so the
caller counts what came out; here only the program itself is judged.
"""

from __future__ import annotations

from pathlib import Path

from scan2map.errors import ToolError
from scan2map.tools.commands import find_program, package_version, run_program

PACKAGE = "bidscoin"


def version() -> str:
    """Version of the installed BIDScoin.

    Raises:
        ToolError: it is not installed.
    """
    find_program("bidscoiner", PACKAGE)
    return package_version(PACKAGE)


def _prepare(bids: Path, settings: Path) -> None:
    """A README that exists keeps BIDScoin off the network; a private settings folder keeps runs apart."""
    bids.mkdir(parents=True)
    settings.mkdir(parents=True)
    (bids / "README.md").write_text("Converted by scan2map.\n")


def messages(bids: Path) -> list[str]:
    """The errors and warnings of the run, without its advice and time stamps."""
    log = bids / "code" / "bidscoin" / "bidscoiner.errors"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return [line.split(" - ", 1)[-1] for line in lines if line and not line.startswith("-> ")]


def convert(raw: Path, bids: Path, *, subject: str, study_map: Path, settings: Path) -> list[str]:
    """Convert one subject's staged DICOM folder.

    Args:
        raw: folder with ``sub-<subject>/ses-*/<series>/*``.
        bids: the fresh folder to write; it must not exist (two runs into one folder lose data).
        subject: label without ``sub-``.
        study_map: BIDScoin's YAML map.
        settings: a private folder for BIDScoin's own settings; it must not exist.

    Returns:
        BIDScoin's errors and warnings.

    Raises:
        ToolError: BIDScoin is missing, crashed, or did not finish.
    """
    program = find_program("bidscoiner", PACKAGE)
    _prepare(bids, settings)
    command = [program, str(raw), str(bids), "-p", f"sub-{subject}", "-b", str(Path(study_map).resolve())]
    run_program(command, environment={"BIDSCOIN_CONFIGDIR": str(settings)})
    log = bids / "code" / "bidscoin" / "bidscoiner.log"
    if not log.is_file() or "FINISHED!" not in log.read_text(errors="replace"):
        raise ToolError("BIDScoin did not finish", file=study_map, found="; ".join(messages(bids))[:500] or None)
    return messages(bids)
