"""The page of one session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from scan2map.evaluation.maps import TISSUES
from scan2map.provenance import commit, software_versions
from scan2map.reporting.lineage import lineage_of, read_sidecar
from scan2map.reporting.methods import load_methods, methods_text
from scan2map.reporting.model_sections import absent_section, model_section, prediction_files, truth_files
from scan2map.reporting.numbers import (
    Check,
    Grid,
    check_expectations,
    comparison_grids,
    number,
    region_grid,
    shown_unit,
    shown_value,
    tissue_grid,
)
from scan2map.reporting.page import REPORT_FOLDER, render_page, write_page
from scan2map.reporting.sections import SectionView, draw_section, is_part_of_study
from scan2map.reporting.spec import PageSpec, load_spec
from scan2map.reporting.states import ModalityState, read_notes, session_states
from scan2map.reporting.tracing import Cell, read_traced
from scan2map.reporting.viewer import packed_library
from scan2map.systems import load_system

RANGE = re.compile(r"(?:above )?(?P<low>-?[\d.]+)(?: to (?P<high>-?[\d.]+))?")
COMPARISONS = ("truth", "scanner")


def write_subject_page(
    files: Mapping[str, str],
    out,
    *,
    subject: str,
    session: str,
    inventory: Sequence[Mapping[str, str]],
    series: Sequence[Mapping[str, str]],
    study: Mapping,
    settings: Mapping,
    notes: Iterable = (),
    systems: Sequence[str] = (),
    models: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Write the page of one session; what is missing is shown with its reason.

    Args:
        files: ``rois``, ``quality`` and, where they exist, ``truth``, ``scanner``, the
            derivatives that ``workflow/report/subject.yaml`` names, and ``<system>_true_<map>`` of a simulated session.
        out: the HTML file.
        subject: label.
        session: label.
        inventory: rows of ``inventory.tsv``, at least those of the session.
        series: rows of ``series.tsv`` of the session.
        study: ``title`` and ``kind`` (``phantom`` marks the page as simulated).
        settings: block ``report``.
        notes: failure notes of the session.
        systems: learned systems of the study.
        models: those that predicted for the session: name, folder of the maps, table of their agreement.
    """
    spec = load_spec(REPORT_FOLDER / "subject.yaml")
    failures = read_notes(notes)
    derivatives = {name: files[name] for name in spec.files if name in files}
    for system, folder, _ in models:
        derivatives |= prediction_files(system, folder, subject, session)
    states = session_states(inventory, failures, subject, session)
    lineage = lineage_of([*derivatives.values(), files["rois"], files["quality"]])
    for system, _, _ in models:
        derivatives |= truth_files(system, files)
    sections = [
        draw_section(section, spec, derivatives, states, settings)
        for section in spec.sections
        if is_part_of_study(section.modality, states)
    ] + _model_sections(systems, models, failures, spec, derivatives, states, settings)
    quality, numbers = quality_rows(files["quality"], out), _numbers(files, spec, out)
    page = render_page(
        "subject.html.j2",
        light=traffic_light(states.values(), numbers["checks"], quality),
        subject=subject,
        session=session,
        study=study,
        states=tuple(states.values()),
        series=sorted(series, key=_series_number),
        sections=sections,
        library=packed_library() if any(section.viewer for section in sections) else None,
        agreements={load_system(system).description.title: _agreement(table, out) for system, _, table in models},
        **numbers,
        quality=quality,
        lineage=lineage,
        software={**software_versions(), **lineage.software},
        commit=commit(),
        methods=methods_text(lineage, *load_methods(REPORT_FOLDER)),
    )
    write_page(out, page)


@dataclass(frozen=True)
class Light:
    """The page in one line: ``good``, ``look`` or ``bad``, and where to look."""

    kind: str
    words: str
    links: tuple[tuple[str, str], ...] = ()


def traffic_light(states: Iterable[ModalityState], checks: Sequence[Check], quality: Sequence[Mapping]) -> Light:
    """Green where all lies in its usual range, amber where something deserves a look, red where a step failed.

    Args:
        states: of the modalities.
        checks: medians beside what is usual.
        quality: quality figures beside what is trusted.
    """
    states = list(states)
    unusual = sum(check.verdict == "outside" for check in checks)
    doubtful = sum(row["verdict"] == "outside" for row in quality)
    links = [("#regions", f"{unusual} outside the usual range")] * (unusual > 0)
    links += [("#quality", f"{doubtful} outside the trusted range")] * (doubtful > 0)
    failed = [state.name for state in states if state.status == "failed"]
    missing = [state.name for state in states if state.status not in ("runs", "failed")]
    if failed:
        return Light("bad", f"Failed: {', '.join(failed)}.", tuple(links))
    if links or missing:
        words = f"Missing: {', '.join(missing)}." if missing else "Look twice:"
        return Light("look", words, tuple(links))
    return Light("good", "Everything ran, and every figure lies in its range.")


def _model_sections(systems, models, failures, spec, derivatives, states, settings) -> list[SectionView]:
    predicted = {system for system, _, _ in models}
    return [
        model_section(system, derivatives, spec, states, settings)
        if system in predicted
        else absent_section(system, failures)
        for system in systems
    ]


def _agreement(path, out) -> list[Grid]:
    """The comparison of a system's maps, where there is any."""
    table = read_traced(path, out)
    return [] if table.empty else comparison_grids(table)


def _numbers(files: Mapping[str, str], spec: PageSpec, out) -> dict:
    table = read_traced(files["rois"], out)
    tissue = table["roi"].isin(TISSUES)
    compared = {name: read_traced(files[name], out) for name in COMPARISONS if files.get(name)}
    quality = read_traced(files["quality"], out)
    compared["opposed"] = quality[quality["metric"].str.startswith("opposed_b0")]
    return {
        "tissue_rois": tissue_grid(table[tissue], ranged=True) if tissue.any() else None,
        "atlas_rois": region_grid(table[~tissue]) if (~tissue).any() else None,
        "checks": check_expectations(table, spec.expectations),
        "comparisons": {name: comparison_grids(found) for name, found in compared.items() if not found.empty},
        "roi_settings": read_sidecar(files["rois"]).get("Settings", {}),
    }


def _series_number(row: Mapping[str, str]) -> int:
    return int(row["number"]) if row["number"].isdigit() else 0


def trust_verdict(value: float, trusted: str) -> str:
    """Whether a figure lies in its trusted range: ``inside``, ``outside``, or empty where none is given.

    Args:
        value: the figure.
        trusted: ``<low> to <high>`` or ``above <low>``, from the data dictionary.
    """
    limits = RANGE.fullmatch(trusted)
    if limits is None or value != value:
        return ""
    low, high = (float(limits[name]) if limits[name] else end for name, end in (("low", -inf), ("high", inf)))
    return "inside" if low <= value <= high else "outside"


def _figure(value: float, unit: str) -> str:
    """A count without digits, anything else with three."""
    return f"{value:.0f}" if float(value).is_integer() else number(shown_value(value, unit))


def quality_rows(path, out) -> list[dict[str, str]]:
    """The figures of a session's quality table with the words of its sidecar; opposed b = 0 images stand elsewhere."""
    words = read_sidecar(path).get("Metrics", {})
    rows = read_traced(path, out)
    return [
        {
            "modality": {"dwi": "Diffusion", "asl": "Perfusion"}.get(row.metric.partition("_")[0], ""),
            "name": words.get(row.metric, {}).get("Description", row.metric),
            "value": Cell(_figure(row.value, row.unit), row.source),
            "unit": shown_unit(row.unit),
            "trusted": words.get(row.metric, {}).get("TrustedRange", ""),
            "verdict": trust_verdict(row.value, words.get(row.metric, {}).get("TrustedRange", "")),
        }
        for row in rows[rows["statistic"] == "value"].itertuples()
    ]
