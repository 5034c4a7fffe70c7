"""Sections of a page: figures drawn, or the reason why they are not there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from scan2map.errors import Scan2mapError
from scan2map.reporting.figures.scenes import Style
from scan2map.reporting.lineage import read_sidecar
from scan2map.reporting.pictures import Picture
from scan2map.reporting.spec import FigureSpec, PageSpec, SectionSpec, ViewerSpec, figure_function
from scan2map.reporting.states import ModalityState, notice
from scan2map.reporting.viewer import build_viewer
from scan2map.systems import system_names

LOGGER = logging.getLogger("scan2map")


@dataclass(frozen=True)
class FigureView:
    """A figure as the template shows it: pictures, or charts, or a notice."""

    id: str
    title: str
    caption: str
    pictures: tuple[Picture, ...] = ()
    charts: tuple[Markup, ...] = ()
    notice: str = ""
    caveats: tuple[str, ...] = ()
    judge: str = ""


@dataclass(frozen=True)
class ViewerView:
    """A slice viewer as the template shows it; ``data`` is JSON for the page's script."""

    id: str
    title: str
    data: Markup | None = None
    notice: str = ""


@dataclass(frozen=True)
class SectionView:
    """A section as the template shows it."""

    id: str
    title: str
    introduction: str
    figures: tuple[FigureView, ...]
    viewer: ViewerView | None = None
    notice: str = ""


def is_part_of_study(modality: str, states: Mapping[str, ModalityState]) -> bool:
    """Whether the study wants a modality (or none is named)."""
    return not modality or modality in states


def draw_section(
    section: SectionSpec,
    spec: PageSpec,
    files: Mapping[str, str],
    states: Mapping[str, ModalityState],
    settings: Mapping,
) -> SectionView:
    """Draw the figures of a section; where its modality did not run, only say why.

    Args:
        section: what to draw.
        spec: the page, for what each file needs.
        files: existing files by name.
        states: state of each modality of the session.
        settings: block ``report``.
    """
    state = states.get(section.modality)
    if state is not None and state.status != "runs":
        return SectionView(section.id, section.title, section.introduction, (), notice=notice(state))
    style = Style(settings["slices"], settings["picture_width_px"])
    wanted = (figure for figure in section.figures if is_part_of_study(figure.modality, states))
    figures = tuple(_draw_figure(figure, spec, files, states, style) for figure in wanted)
    viewer = _draw_viewer(section.viewer, files, settings["viewer_voxel_mm"])
    return SectionView(section.id, section.title, section.introduction, figures, viewer)


def _missing(figure: FigureSpec, spec: PageSpec, files: Mapping[str, str], states) -> str:
    """Why a figure cannot be drawn; empty if it can."""
    absent = [name for name in figure.inputs.values() if name not in files]
    needs = dict.fromkeys(need for name in absent for need in spec.files[name].needs)
    reasons = [notice(states[need]) for need in needs if need in states and states[need].status != "runs"]
    systems = [need for need in needs if need in system_names()]
    if absent and systems:
        reasons.append(f"{', '.join(systems)} does not predict for this session, and nothing else makes this image.")
    if absent and not reasons:
        reasons.append(f"the files {', '.join(absent)} do not exist.")
    return " ".join(reasons)


def _draw_figure(figure: FigureSpec, spec: PageSpec, files: Mapping[str, str], states, style: Style) -> FigureView:
    reason = _missing(figure, spec, files, states)
    if reason:
        return FigureView(figure.id, figure.title, figure.caption, notice=reason)
    inputs = {key: files[name] for key, name in figure.inputs.items()}
    try:
        drawn = figure_function(figure.function)(inputs, {**figure.options, "alt": figure.alt}, style)
    except Exception as error:  # a page with one figure less is worth more than no page
        return FigureView(figure.id, figure.title, figure.caption, notice=_failure(figure.id, error))
    pictures = tuple(item for item in drawn if isinstance(item, Picture))
    charts = tuple(item for item in drawn if isinstance(item, Markup))
    told = {"caveats": caveats(inputs.values()), "judge": figure.judge}
    return FigureView(figure.id, figure.title, figure.caption, pictures, charts, **told)


def caveats(paths: Iterable) -> tuple[str, ...]:
    """What steps want the reader to know about their results: the sidecars' ``Reason``."""
    reasons = (read_sidecar(path).get("Reason") for path in paths)
    return tuple(dict.fromkeys(reason for reason in reasons if reason))


def _failure(name: str, error: Exception) -> str:
    LOGGER.error("%s could not be drawn", name, exc_info=error)
    reason = str(error) if isinstance(error, Scan2mapError) else f"{type(error).__name__}: {error}"
    return f"This figure could not be drawn: {reason}"


def _draw_viewer(viewer: ViewerSpec | None, files: Mapping[str, str], voxel_mm: float) -> ViewerView | None:
    if viewer is None:
        return None
    inputs = {key: files[name] for key, name in viewer.inputs.items() if name in files}
    layers = [layer for layer in viewer.layers if layer["input"] in inputs]
    if "mask" not in inputs or not layers:
        return None
    try:
        data = json.dumps(build_viewer(inputs, layers, voxel_mm), separators=(",", ":"))
    except Exception as error:
        return ViewerView(viewer.id, viewer.title, notice=_failure(viewer.id, error))
    return ViewerView(viewer.id, viewer.title, Markup(data.replace("<", "\\u003c")))
