"""Does a session hold what each modality needs? One verdict per modality, with a reason in plain words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import nibabel as nib

from scan2map.bids import asl_checks, dwi_checks
from scan2map.bids.layout import BidsFile
from scan2map.bids.roles import BASE_ASL_ROLES, MODALITIES, base_asl_role

NO_CORRECTION = "no reversed phase encoding: no susceptibility correction"
RE_EXPORT = "export the series again, or exclude it in the exclusions table"
ACQUIRE = "nothing to mend if it was not acquired"
NEEDS_T1W = {"dwi", "asl", "bssfp", "ctmr"}


@dataclass(frozen=True)
class Verdict:
    """Whether a modality of a session runs: ``runs``, ``excluded``, ``incomplete`` or ``failed``, and why not."""

    status: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Session:
    """What the intake knows about one session.

    Attributes:
        files: its images.
        broken: series that the study wants but that could not be used: ``modality``, ``suffix``, ``text``.
        expected: role → what its files must hold (``input.expected``).
        asl: block ``asl``, at least what decides whether a labelling series can be used.
    """

    files: tuple[BidsFile, ...]
    broken: tuple[dict[str, str], ...] = ()
    expected: dict[str, dict[str, Any]] = field(default_factory=dict)
    asl: dict[str, Any] = field(default_factory=dict)

    def of(self, *roles: str) -> list[BidsFile]:
        """The images with these roles."""
        return [file for file in self.files if file.role in roles]

    def broken_text(self, modality: str, suffix: str | None = None) -> str:
        """What is wrong with the broken series of a modality, one sentence."""
        found = [one["text"] for one in self.broken if one["modality"] == modality and suffix in (None, one["suffix"])]
        return "; ".join(found)


def incomplete(reason: str, remedy: str = RE_EXPORT) -> Verdict:
    """The verdict on a session that lacks something."""
    return Verdict("incomplete", reason, remedy)


def _shape(file: BidsFile) -> tuple[int, ...] | None:
    try:
        return tuple(nib.load(file.path).shape)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
        return None


def _volumes(shape: tuple[int, ...]) -> int:
    return shape[3] if len(shape) > 3 else 1


def _count_problem(file: BidsFile, shape: tuple[int, ...], expected: dict[str, Any]) -> str | None:
    for name, found in (("volumes", _volumes(shape)), ("slices", shape[2])):
        wanted = expected.get(name)
        if wanted is not None and found != wanted:
            return f"{found} {name} where the study expects {wanted}"
    return None


def _image_problem(file: BidsFile, session: Session) -> str | None:
    shape = _shape(file)
    if shape is None or len(shape) < 3:
        return "the image cannot be read" if shape is None else f"the image has {len(shape)} axes, not 3 or 4"
    expected = session.expected.get(file.role, {})
    problem = _count_problem(file, shape, expected)
    if problem or file.role not in ("dwi", "epi", *BASE_ASL_ROLES):
        return problem
    if file.role in BASE_ASL_ROLES:
        return asl_checks.asl_problem(file, shape, next(iter(session.of("m0")), None), session.asl)
    if file.role == "epi":
        return dwi_checks.encoding_problem(file)
    shells = expected.get("b_values_s_per_mm2")
    return dwi_checks.table_problem(file, _volumes(shape), shells) or dwi_checks.encoding_problem(file)


def _first_problem(session: Session, *roles: str) -> Verdict | None:
    for file in session.of(*roles):
        problem = _image_problem(file, session)
        if problem:
            return incomplete(f"{file.path.name}: {problem}")
    return None


def _missing(session: Session, modality: str, what: str) -> Verdict:
    broken = session.broken_text(modality)
    return incomplete(broken) if broken else incomplete(f"no {what}", ACQUIRE)


def _judge_anat(session: Session) -> Verdict:
    if not session.of("t1w"):
        return _missing(session, "anat", "T1w image")
    return _first_problem(session, "t1w") or Verdict("runs")


def _judge_dwi(session: Session) -> Verdict:
    if not session.of("dwi"):
        return _missing(session, "dwi", "diffusion series")
    broken = session.broken_text("dwi", "dwi")
    if broken:
        return incomplete(broken)
    problem = _first_problem(session, "dwi", "epi")
    if problem:
        return problem
    if dwi_checks.has_opposed_encoding(session.of("dwi", "epi")):
        return Verdict("runs")
    why = session.broken_text("dwi", "epi")
    return Verdict("runs", f"{NO_CORRECTION} ({why})" if why else NO_CORRECTION)


def _judge_asl(session: Session) -> Verdict:
    base = base_asl_role(session.files)
    # A series with several delays does not stand in for a single-delay one that could not be used.
    if base is None or (base != "asl" and session.broken_text("asl", "asl")):
        return _missing(session, "asl", "PCASL, CASL or PASL series")
    verdict = _first_problem(session, base, "m0") or Verdict("runs")
    broken_m0 = session.broken_text("asl", "m0scan")
    return incomplete(broken_m0) if verdict.status != "runs" and broken_m0 else verdict


def _judge_bssfp(session: Session) -> Verdict:
    magnitude, phase = session.of("bssfp_mag"), session.of("bssfp_phase")
    if not magnitude or not phase:
        return _missing(session, "bssfp", "bSSFP magnitude image" if not magnitude else "bSSFP phase image")
    problem = _first_problem(session, "bssfp_mag", "bssfp_phase")
    if problem is None and _shape(magnitude[0]) != _shape(phase[0]):
        return incomplete(f"bSSFP magnitude {_shape(magnitude[0])} and phase {_shape(phase[0])} differ in shape")
    return problem or Verdict("runs")


def _judge_ctmr(session: Session) -> Verdict:
    if not session.of("ct"):
        return _missing(session, "ctmr", "CT image")
    if not session.of("flair", "adc"):
        return _missing(session, "ctmr", "FLAIR or ADC image")
    return _first_problem(session, "ct", "flair", "adc") or Verdict("runs")


JUDGES = {"anat": _judge_anat, "dwi": _judge_dwi, "asl": _judge_asl, "bssfp": _judge_bssfp, "ctmr": _judge_ctmr}


def _after_anat(verdict: Verdict, anat: Verdict) -> Verdict:
    if verdict.status != "runs" or anat.status == "runs":
        return verdict
    return replace(anat, reason=f"needs the T1w image: {anat.reason}")


def judge(session: Session, exclusions: dict[str, str]) -> dict[str, Verdict]:
    """The verdict on every modality of a session.

    Args:
        session: what the intake knows.
        exclusions: modality (or ``all``) → reason, from the exclusions table.

    Returns:
        Modality → verdict. Modalities that are aligned to the T1w image do not run without it.
    """
    verdicts = {}
    for modality in MODALITIES:
        reason = exclusions.get("all") or exclusions.get(modality)
        verdicts[modality] = Verdict("excluded", reason) if reason else JUDGES[modality](session)
    return {
        modality: _after_anat(verdict, verdicts["anat"]) if modality in NEEDS_T1W else verdict
        for modality, verdict in verdicts.items()
    }


def group_by_session(files: Iterable[BidsFile]) -> dict[tuple[str, str], list[BidsFile]]:
    """Files by (subject, session)."""
    groups: dict[tuple[str, str], list[BidsFile]] = defaultdict(list)
    for file in files:
        groups[file.subject, file.session].append(file)
    return dict(groups)
