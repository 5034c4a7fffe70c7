"""The FSL engine of diffusion preprocessing: TOPUP, BET, eddy and DTIFIT behind the names of the embedded engine.

Images are handed to FSL stored radiologically and its results come back on the original grid, so that b-vectors,
phase-encoding vectors and millimetres have one meaning throughout.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scan2map.derivative_tables import read_frame, write_frame
from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.dwi import correct, fsl_files, fsl_results
from scan2map.preprocess.dwi.dti import KINDS, check_gradients, check_maps, map_arrays, require_gradients
from scan2map.preprocess.dwi.fieldmap_files import MOTION_COLUMNS
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients, write_gradients
from scan2map.preprocess.dwi.motion import Motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm
from scan2map.preprocess.dwi.tensor import tensor_volumes
from scan2map.provenance import sidecar_path, write_sidecar
from scan2map.tools import fsl_commands
from scan2map.tools.fsl import find_fsl

ACQUISITION = ("phase_encoding", "total_readout_time_s")
TOPUP_FILES = {"_fieldcoef.nii.gz": "topup_fieldcoef.nii.gz", "_movpar.txt": "topup_movpar.txt",
               "_acqparams.txt": "acqparams.txt"}  # fmt: skip


def _facts(*commands: str) -> dict:
    """What a result of FSL says about its making."""
    return {"Engine": "fsl", "FSLVersion": find_fsl().version, "CommandLines": list(commands)}


def run_topup(epi, acquisition, settings: dict, *, output: dict, step: str, threads: int = 1) -> None:
    """Estimate the off-resonance field by TOPUP and correct the mean b = 0 image of each direction.

    Args:
        epi: all b = 0 volumes of the session, (x, y, z, t); the first one is the reference position of the head.
        acquisition: table with one row per volume: ``phase_encoding``, ``total_readout_time_s``.
        settings: block ``fsl``.
        output: paths ``fieldmap`` (Hz), ``uncorrected`` and ``corrected`` (mean b = 0 volume of each phase
            encoding), ``motion`` (one row per volume; n/a for those that TOPUP did not read). TOPUP's own results
            are kept beside the field for eddy; the field's sidecar names them.
        step: rule that runs this.
        threads: threads of TOPUP.

    Raises:
        DataError: the volumes cannot tell a field, or a readout time or direction cannot be used.
        ToolError: FSL is missing or failed.
    """
    image = load_image(epi)
    table = read_frame(acquisition, ACQUISITION)
    parameters = fsl_files.acquisition_parameters(table, image.affine)
    _require_volumes(image, len(parameters), acquisition)
    fsl_files.require_opposed(parameters, epi)
    chosen = fsl_files.choose_b0(parameters, settings["topup"]["b0_per_direction"])
    with fsl_commands.work_folder(output["fieldmap"]) as work:
        fsl_files.write_image(work / "b0.nii.gz", Image(image.data[..., chosen], image.affine))
        fsl_files.write_rows(work / "acqparams.txt", parameters[chosen])
        schedule = fsl_files.topup_configuration(image.data.shape, settings["topup"]["configuration"])
        command = fsl_commands.topup(work, configuration=schedule, threads=threads)
        uncorrected = _mean_per_direction(image.data[..., chosen], parameters[chosen])
        commands = [command, *_unwarp(work, Image(uncorrected, image.affine), parameters[chosen])]
        facts = {"step": step, "sources": [epi, acquisition], "settings": settings["topup"], **_facts(*commands)}
        facts["SusceptibilityCorrection"] = "fsl"
        _save_field(work, image, output, facts)
        _save_directions(work, Image(uncorrected, image.affine), output, facts)
        motion = fsl_results.motion_parameters(fsl_results.topup_matrices(work, len(chosen), image), image)
    frame = pd.DataFrame(motion, columns=list(MOTION_COLUMNS), index=chosen).reindex(range(len(parameters)))
    description = "Head motion of each b = 0 volume from the position of the first one"
    write_frame(output["motion"], frame, MOTION_COLUMNS, description=description, **facts)


def _require_volumes(image: Image, rows: int, file) -> None:
    volumes = image.data.shape[3] if image.data.ndim == 4 else 1
    if volumes != rows:
        raise DataError("The acquisition table does not fit its series", file=file, found=f"{rows} rows",
                        allowed=f"{volumes} volumes")  # fmt: skip


def _mean_per_direction(data: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Mean volume of each acquisition, (x, y, z, directions), in order of appearance."""
    groups = fsl_files.row_indices(parameters, fsl_files.unique_rows(parameters))
    return np.stack([data[..., groups == group].mean(-1) for group in np.unique(groups)], axis=-1)


def _unwarp(work: Path, uncorrected: Image, parameters: np.ndarray) -> list[str]:
    """Write ``unwarped_<n>.nii.gz`` for each direction's mean volume; returns the command lines."""
    rows = fsl_files.row_indices(fsl_files.unique_rows(parameters), parameters)
    commands = []
    for number, row in enumerate(rows):
        fsl_files.write_image(work / f"mean_{number}.nii.gz", Image(uncorrected.data[..., number], uncorrected.affine))
        result = f"unwarped_{number}.nii.gz"
        commands.append(fsl_commands.apply_topup(work, f"mean_{number}.nii.gz", row=int(row), output=result))
    return commands


def _save_field(work: Path, image: Image, output: dict, facts: dict) -> None:
    fieldmap = Path(output["fieldmap"])
    base = fieldmap.name.removesuffix(".nii.gz").removesuffix("_fieldmap") + "_topup"
    for ending, name in TOPUP_FILES.items():
        partial = fieldmap.with_name(f".partial-{base}{ending}")
        shutil.copyfile(work / name, partial)
        os.replace(partial, fieldmap.with_name(base + ending))
    save_image(fieldmap, fsl_results.load_result(work / "field.nii.gz", image), image.affine)
    description = "Off-resonance field by TOPUP, in the head position of the first b = 0 volume"
    write_sidecar(fieldmap, description=description, units="Hz", TopupBase=base, **facts)


def _save_directions(work: Path, uncorrected: Image, output: dict, facts: dict) -> None:
    names = [work / f"unwarped_{number}.nii.gz" for number in range(uncorrected.data.shape[3])]
    corrected = np.stack([fsl_results.load_result(path, uncorrected).squeeze() for path in names], axis=-1)
    for name, data in {"uncorrected": uncorrected.data, "corrected": corrected}.items():
        save_image(output[name], data, uncorrected.affine)
        description = f"Mean b = 0 image of each phase-encoding direction, {name}"
        write_sidecar(output[name], description=description, units="arbitrary", **facts)


def run_bet(image: Image, settings: dict, *, beside) -> np.ndarray:
    """Brain mask of an image by BET.

    Args:
        image: (x, y, z).
        settings: block ``fsl``.
        beside: a path in whose folder FSL may work.

    Returns:
        Boolean mask on the image's grid.

    Raises:
        ToolError: FSL is missing or failed.
    """
    with fsl_commands.work_folder(beside) as work:
        fsl_files.write_image(work / "head.nii.gz", image)
        fsl_commands.bet(work, "head.nii.gz", settings["bet"])
        return fsl_results.load_result(work / "brain_mask.nii.gz", image) > 0


def run_eddy(
    dwi, bval, bvec, acquisition, mask, settings: dict, *, b0_threshold: float, output: dict, step: str,
    fieldmap=None, sidecars: Sequence = (), threads: int = 1,
) -> None:  # fmt: skip
    """Correct head motion, eddy currents, susceptibility distortion and outlier slices by eddy.

    Args:
        dwi, bval, bvec: the merged, uncorrected series and its b-table.
        acquisition: table with one row per volume: ``phase_encoding``, ``total_readout_time_s``.
        mask: brain mask in the undistorted head.
        settings: block ``fsl``.
        b0_threshold: highest b-value that counts as b = 0, s/mm².
        output: paths ``dwi``, ``bval``, ``bvec`` (rotated), ``motion``, ``outliers``; for the quality report also
            ``report`` (.pdf) and ``report_figures`` (.json).
        step: rule that runs this.
        fieldmap: off-resonance field (Hz) on the series' grid, in the head position of the first b = 0 volume. When
            TOPUP made it, TOPUP's own results are used. None, or a field map whose sidecar says that nothing was
            corrected: no susceptibility correction (one direction only).
        sidecars: JSON files of the diffusion runs; needed for slice-to-volume correction.
        threads: threads of a CPU program.

    Raises:
        DataError: the inputs contradict each other or cannot be used.
        ToolError: FSL is missing or failed.
    """
    image, brain = load_image(dwi), load_image(mask)
    require_same_grid(image, brain, names=("the diffusion series", "its brain mask"))
    gradients = read_gradients(bval, bvec, image.data.shape[3], b0_threshold)
    parameters = fsl_files.acquisition_parameters(read_frame(acquisition, ACQUISITION), image.affine)
    _require_volumes(image, len(parameters), acquisition)
    with fsl_commands.work_folder(output["dwi"]) as work:
        fsl_files.write_image(work / "dwi.nii.gz", image)
        fsl_files.write_image(work / "mask.nii.gz", Image(brain.data > 0, brain.affine), dtype=np.uint8)
        write_gradients(gradients, work / "bvals", work / "bvecs")
        field = _write_field(work, fieldmap, image)
        _write_acquisition(work, parameters, field)
        slices = _write_slices(work, sidecars, image.data.shape[2], settings["eddy"])
        reference = int(np.flatnonzero(gradients.is_b0)[0]) if gradients.is_b0.any() else 0
        command = fsl_commands.eddy(work, settings["eddy"], field=field, reference=reference, threads=threads)
        facts = {"step": step, "settings": settings["eddy"], **_facts(command)}
        facts["sources"] = [str(path) for path in (dwi, bval, bvec, acquisition, mask, fieldmap) if path]
        correction = _read_correction(work, image, gradients, settings["eddy"])
        correct.require_signal(correction, dwi)
        _save_correction(correction, image, output, facts)
        if settings["eddy"]["quality_report"]:
            fsl_commands.eddy_quad(work, has_field=field is not None, has_slices=slices)
            for name, ending in {"report": "pdf", "report_figures": "json"}.items():
                shutil.copyfile(work / "quad" / f"qc.{ending}", output[name])


def _write_field(work: Path, fieldmap, image: Image) -> str | None:
    """Hand over the field; returns how eddy is to read it (see :func:`fsl_commands.eddy`)."""
    if fieldmap is None:
        return None
    field = load_image(fieldmap)
    require_same_grid(image, field, names=("the diffusion series", "the field map"))
    fsl_files.write_image(work / "field.nii.gz", field)
    facts = json.loads(sidecar_path(fieldmap).read_text())
    if facts.get("SusceptibilityCorrection") == "none":
        return None
    base = facts.get("TopupBase")
    if base is None:
        return "field"
    for ending, name in TOPUP_FILES.items():
        source = Path(fieldmap).with_name(base + ending)
        if not source.is_file():
            raise DataError("A result of TOPUP is gone", file=source, remedy="delete the field map and run again")
        shutil.copyfile(source, work / ("topup_rows.txt" if name == "acqparams.txt" else name))
    return "topup"


def _write_acquisition(work: Path, parameters: np.ndarray, field: str | None) -> None:
    """acqparams.txt and index.txt; with TOPUP's results the rows must be those that TOPUP read."""
    rows = np.loadtxt(work / "topup_rows.txt", ndmin=2) if field == "topup" else fsl_files.unique_rows(parameters)
    fsl_files.write_rows(work / "acqparams.txt", rows)
    fsl_files.write_rows(work / "index.txt", fsl_files.row_indices(parameters, rows), fmt="%d")


def _write_slices(work: Path, sidecars: Sequence, slices: int, settings: dict) -> bool:
    if not settings["slice_to_volume_order"]:
        return False
    fsl_files.write_rows(work / "slspec.txt", fsl_files.read_slice_groups(sidecars, slices), fmt="%d")
    return True


def _read_correction(work: Path, image: Image, gradients: GradientTable, settings: dict) -> correct.Correction:
    """What eddy did, as the embedded engine says it."""
    parameters = np.loadtxt(work / "eddy.eddy_parameters", ndmin=2)
    eddy = fsl_results.eddy_coefficients(parameters, settings["first_level_model"], image.affine)
    scores = np.zeros((len(gradients), image.data.shape[2]))
    outliers = scores > 0
    if settings["replace_outliers"]:
        scores = fsl_results.read_slice_table(work / "eddy.eddy_outlier_n_stdev_map")
        outliers = fsl_results.read_slice_table(work / "eddy.eddy_outlier_map") > 0
    rotated = work / "eddy.eddy_rotated_bvecs"
    return correct.Correction(
        data=fsl_results.load_result(work / "eddy.nii.gz", image),
        gradients=read_gradients(work / "bvals", rotated, len(gradients), gradients.b0_threshold),
        motion=Motion(fsl_results.eddy_matrices(parameters, image), eddy),
        scores=scores,
        outliers=outliers,
    )


def _save_correction(correction: correct.Correction, image: Image, output: dict, facts: dict) -> None:
    save_image(output["dwi"], correction.data, image.affine)
    write_gradients(correction.gradients, output["bval"], output["bvec"])
    description, count = "Diffusion series corrected by FSL eddy; b-vectors rotated", int(correction.outliers.sum())
    write_sidecar(output["dwi"], description=description, units="arbitrary", OutlierSlices=count, **facts)
    motion = correct.motion_table(correction.motion, grid_centre_mm(image.data.shape, image.affine))
    description = "Head motion from the first b = 0 volume to each volume, and its eddy-current field"
    write_frame(output["motion"], motion, correct.MOTION_COLUMNS, description=description, **facts)
    slices, description = correct.slice_table(correction), "Residual of every slice against eddy's prediction"
    write_frame(output["outliers"], slices, correct.SLICE_COLUMNS, description=description, **facts)


def run_dtifit(
    dwi, bval, bvec, mask, settings: dict, *, dwi_settings: dict, output: dict, step: str = "fit_tensor"
) -> None:
    """Fit the diffusion tensor by DTIFIT and write the maps of the embedded engine.

    Args:
        dwi, bval, bvec: the corrected series with its rotated b-table.
        mask: brain mask on the same grid.
        settings: block ``fsl``.
        dwi_settings: block ``dwi`` (b-value limit, check of the b-table).
        output: paths of the maps by the names of :data:`scan2map.preprocess.dwi.dti.KINDS`; for kurtosis also ``MK``.
        step: rule that runs this.

    Raises:
        DataError: bad input, impossible maps, or b-vectors along wrong axes.
        ToolError: FSL is missing or failed.
    """
    image, brain = load_image(dwi), load_image(mask)
    require_same_grid(image, brain, names=("the diffusion series", "its brain mask"))
    gradients = read_gradients(bval, bvec, image.data.shape[3], dwi_settings["b0_threshold_s_per_mm2"])
    used = tensor_volumes(gradients, dwi_settings["tensor"]["max_b_value_s_per_mm2"])
    inside = brain.data > 0
    with fsl_commands.work_folder(output["FA"]) as work:
        command = _dtifit(work, image, inside, gradients, used, settings["dtifit"])
        maps = fsl_results.tensor_maps(work, "dti", image)
        fsl_maps = {name: fsl_results.load_result(work / f"dti_{name}.nii.gz", image) for name in ("FA", "MD")}
        if settings["dtifit"]["kurtosis"]:
            _save_kurtosis(work, image, inside, gradients, output, settings, step)
    check_maps(maps, inside, dwi)
    check = check_gradients(maps.direction, maps.fa, maps.md, image.affine)
    require_gradients(check, dwi_settings["tensor"]["gradient_check"], bvec)
    facts = {"step": step, "settings": settings["dtifit"], "sources": [dwi, bval, bvec, mask], **_facts(command)}
    for name, values in (map_arrays(maps) | fsl_maps).items():
        save_image(output[name], values, image.affine)
        description = f"{KINDS[name].description}; FSL DTIFIT"
        write_sidecar(output[name], description=description, units=KINDS[name].unit, **facts)


def _dtifit(work: Path, image: Image, mask, gradients: GradientTable, used, settings: dict, kurtosis=False) -> str:
    """Write the chosen volumes and run DTIFIT on them, base name ``dti`` or ``dki``."""
    fsl_files.write_image(work / "dwi.nii.gz", Image(image.data[..., used], image.affine))
    fsl_files.write_image(work / "mask.nii.gz", Image(mask, image.affine), dtype=np.uint8)
    write_gradients(gradients.take(used), work / "bvals", work / "bvecs")
    base = "dki" if kurtosis else "dti"
    return fsl_commands.dtifit(work, base, weighted=settings["weighted"], kurtosis=kurtosis)


def _save_kurtosis(work, image, mask, gradients: GradientTable, output: dict, settings: dict, step: str) -> None:
    shells = np.unique(gradients.shells[~gradients.is_b0])
    if len(shells) < 2:
        raise DataError("Kurtosis needs two shells", found=f"b = {shells.tolist()} s/mm²",
                        remedy="set fsl.dtifit.kurtosis to false")  # fmt: skip
    everything = np.ones(len(gradients), dtype=bool)
    command = _dtifit(work, image, mask, gradients, everything, settings["dtifit"], kurtosis=True)
    save_image(output["MK"], fsl_results.load_result(work / "dki_kurt.nii.gz", image), image.affine)
    description = "Mean kurtosis by FSL DTIFIT"
    facts = {"step": step, "settings": settings["dtifit"], "units": "1", **_facts(command)}
    write_sidecar(output["MK"], description=description, **facts)
