"""A section of the session's page per learned system, made from the maps that the system says it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from scan2map.reporting.lineage import read_sidecar
from scan2map.reporting.sections import SectionView, draw_section
from scan2map.reporting.spec import FigureSpec, FileSpec, PageSpec, SectionSpec, ViewerSpec
from scan2map.reporting.viewer import GREY
from scan2map.systems import load_system
from scan2map.training.files import PredictedMap
from scan2map.training.predict import map_name, present_maps
from scan2map.training.system import Description

# Brain masks on the grid of each datatype, by their name in workflow/report/subject.yaml. A system on another grid
# writes what is to be drawn as a map of the name ``mask``.
MASKS = {"perf": "asl_mask", "dwi": "dwi_mask", "anat": "t1w_mask"}
NAMES = {"prediction": "Model", "baseline": "Conventional", "uncertainty": "Uncertainty (SD)", "residual": "Removed",
         "input": "Input", "direction": "Direction"}  # fmt: skip
JUDGE = (
    "Flicker between the pictures on one scale: the model keeps the anatomy of the conventional estimate, with less "
    "noise. What it alone shows, or smooths away, and places of high uncertainty are to be doubted."
)
# Share of the range of a coloured map below which a viewer lets the image beneath be seen.
CLEAR_BELOW = 0.05
# Roles whose pictures flicker against each other: they share one scale.
SAME_SCALE = ("prediction", "baseline", "input")


def prediction_files(system: str, folder, subject: str, session: str) -> dict[str, str]:
    """The maps of a session, keyed ``<system>.<map>``."""
    maps = present_maps(system, folder, subject, session)
    return {f"{system}.{wanted.name}": str(Path(folder) / map_name(wanted, subject, session)) for wanted in maps}


def truth_files(system: str, files: Mapping[str, str]) -> dict[str, str]:
    """What is true about a system's maps, keyed ``<system>.true_<map>``, from files keyed ``<system>_true_<map>``."""
    prefix = f"{system}_true_"
    return {f"{system}.true_{key.removeprefix(prefix)}": path for key, path in files.items() if key.startswith(prefix)}


def _companions(wanted: PredictedMap, maps: Iterable[PredictedMap]) -> list[PredictedMap]:
    return [wanted, *(other for other in maps if other.of == wanted.name and other.role in NAMES)]


def _shown(system: str, item: PredictedMap) -> dict:
    scale = "same" if item.role in SAME_SCALE else item.role
    words = {"name": item.name_shown or NAMES[item.role], "label": item.label, "group": f"{system}-{scale}"}
    return words | {"range": item.display, "scale": item.display_scale, "colour_map": item.colour_map}


def _figure(
    system: str, wanted: PredictedMap, maps: tuple[PredictedMap, ...], trained_on: str, *, with_truth: bool
) -> FigureSpec:
    items = _companions(wanted, maps)
    inputs = {item.name: f"{system}.{item.name}" for item in items}
    inputs["mask"] = MASKS.get(wanted.datatype, f"{system}.mask")
    words = " ".join(f"{item.name_shown or NAMES[item.role]}: {item.description}" for item in items)
    shown = {item.name: _shown(system, item) for item in items}
    if with_truth:
        true = f"true_{wanted.name}"
        inputs[true], shown[true] = f"{system}.{true}", _shown(system, wanted) | {"name": "Truth"}
        words += " Truth: what was simulated."
    return FigureSpec(
        id=f"{system}-{wanted.name}",
        title=wanted.label,
        function="models.predicted_map",
        inputs=inputs,
        alt=wanted.label,
        caption=f"{words} Model and conventional estimate share one scale. The model was trained on {trained_on}.",
        judge=JUDGE,
        options={"maps": shown},
    )


def _viewer(system: str, description: Description, maps: Iterable[PredictedMap]) -> ViewerSpec | None:
    """The viewer of a system that wants one."""
    present = {item.name: item for item in maps}
    items = [present[name] for name in description.viewer if name in present]
    if not items:
        return None
    coloured = [item.name for item in items if item.colour_map != GREY]
    layers = tuple(
        {
            "name": item.name_shown or NAMES[item.role], "input": item.name, "range": item.display,
            "scale": item.display_scale, "colour_map": item.colour_map, "base": item.name not in coloured,
            "masked": item.name in coloured, "clear_below": CLEAR_BELOW, "start": item.name in coloured[:1],
        }
        for item in items
    )  # fmt: skip
    inputs = {item.name: f"{system}.{item.name}" for item in items}
    inputs["mask"] = MASKS.get(items[0].datatype, f"{system}.mask")
    return ViewerSpec(f"viewer-{system}", "Look through the images", inputs, layers)


def model_section(
    system: str, files: Mapping[str, str], spec: PageSpec, states: Mapping, settings: Mapping
) -> SectionView:
    """Draw the section of a system that predicted for the session.

    Args:
        system: its name.
        files: of the page, the system's maps among them (:func:`prediction_files`, then :func:`truth_files`).
        spec: of the page.
        states: state of each modality.
        settings: block ``report``.
    """
    description = load_system(system).description
    modality = description.modalities[-1]
    own = [name for name in files if name.startswith(f"{system}.")]
    told = read_sidecar(files[own[0]]).get("Model", {})
    known = {name: FileSpec((modality,)) for name in own}
    present = tuple(wanted for wanted in description.maps if f"{system}.{wanted.name}" in own)
    predictions = [wanted for wanted in present if wanted.role == "prediction"]
    figures = tuple(
        _figure(system, wanted, present, told.get("TrainedOn", ""), with_truth=f"{system}.true_{wanted.name}" in own)
        for wanted in predictions
    )
    introduction = f"{description.intended_use} Package {told.get('Package', '')}."
    section = SectionSpec(
        system, description.title, introduction, figures, modality, _viewer(system, description, present)
    )
    return draw_section(section, replace(spec, files={**spec.files, **known}), files, states, settings)


def absent_section(system: str, notes: Iterable[Mapping]) -> SectionView:
    """The section of a system that did not predict for the session, with the reason."""
    description = load_system(system).description
    reasons = [note["reason"] for note in notes if note.get("system") == system]
    return SectionView(system, description.title, "", (), notice=_why(description, reasons))


def _why(description: Description, reasons: list[str]) -> str:
    if reasons:
        return f"No prediction: {reasons[0]}"
    needs = ", ".join([*description.modalities, *description.roles])
    return f"No prediction: this session does not have all that the model reads ({needs})."
