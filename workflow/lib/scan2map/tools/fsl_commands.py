"""FSL's command lines, each built by a nipype interface and run in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from scan2map.errors import SettingError, ToolError
from scan2map.logs import LOGGER
from scan2map.tools.commands import QUIET
from scan2map.tools.fsl import Fsl, eddy_program, find_fsl


@cache
def interfaces():
    """nipype's FSL interfaces, without its version check on the network."""
    os.environ.update(QUIET, NIPYPE_NO_ET="1")
    from nipype import config
    from nipype import logging as nipype_logging
    from nipype.interfaces import fsl

    config.update_config({"execution": {"check_version": "false", "get_linked_libs": "false"}})
    nipype_logging.getLogger("nipype.interface").setLevel("ERROR")
    return fsl


@contextmanager
def work_folder(beside) -> Iterator[Path]:
    """A folder for FSL's files beside an output; removed afterwards, kept when something failed."""
    beside = Path(beside)
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".fsl-", dir=beside.parent.resolve()))
    try:
        yield folder
    except Exception:
        LOGGER.error("FSL's files of the failed step are kept in %s", folder)
        raise
    shutil.rmtree(folder)


@cache
def has_option(program: Path, option: str) -> bool:
    """Whether a program's help text names an option; releases differ."""
    environment = {**os.environ, **Fsl(program.parents[1]).environment}
    done = subprocess.run(
        [program, "--help"], capture_output=True, text=True, check=False, errors="replace", env=environment
    )
    return option in done.stdout + done.stderr


def _run(interface, fsl: Fsl, work: Path, expected: list[str]) -> str:
    """Run an interface in a folder and return its command line, with paths relative to that folder.

    Raises:
        ToolError: the program failed, or did not write what it should.
    """
    interface.inputs.environ.update(fsl.environment)
    interface.inputs.output_type = "NIFTI_GZ"
    interface.terminal_output = "file_split"
    program = interface.cmd
    try:
        command = interface.cmdline.replace(f"{work}/", "")
        LOGGER.info("FSL %s: %s", fsl.version, command)
        interface.run(cwd=str(work))
    except (RuntimeError, OSError) as error:
        words = _last_words(work) or str(error)
        raise ToolError(f"FSL's {program} failed", found=words, remedy="see the log of this step") from error
    missing = [name for name in expected if not (work / name).is_file()]
    if missing:
        raise ToolError(f"FSL's {program} did not write its results", found=f"no {', '.join(missing)}")
    return command


def _last_words(work: Path) -> str:
    """The end of what the program printed (nipype names a missing result before it looks at the exit code)."""
    printed = [work / name for name in ("stdout.nipype", "stderr.nipype")]
    lines = [line for path in printed if path.is_file() for line in path.read_text(errors="replace").splitlines()]
    return " | ".join(line.strip() for line in lines[-5:] if line.strip())


def _threads(fsl: Fsl, program: str, threads: int) -> str:
    """The option for threads where this release has it; OMP_NUM_THREADS does it for the others."""
    return f"--nthr={threads}" if has_option(fsl.folder / "bin" / program, "--nthr") else ""


def _extra(*options: str) -> dict[str, str]:
    """Options that the interface does not have, as its ``args``."""
    text = " ".join(option for option in options if option)
    return {"args": text} if text else {}


def topup(work: Path, *, configuration: str, threads: int) -> str:
    """TOPUP of ``b0.nii.gz`` with ``acqparams.txt``.

    Writes ``topup_fieldcoef.nii.gz``, ``topup_movpar.txt``, ``field.nii.gz`` (Hz) and one rigid matrix per volume,
    ``motion_01.mat`` ...

    Raises:
        ToolError: no FSL, or TOPUP failed.
    """
    fsl = find_fsl()
    interface = interfaces().TOPUP(
        in_file=str(work / "b0.nii.gz"),
        encoding_file=str(work / "acqparams.txt"),
        out_base=str(work / "topup"),
        out_field=str(work / "field.nii.gz"),
        out_corrected=str(work / "unwarped.nii.gz"),
        out_logfile=str(work / "topup.log"),
        out_mat_prefix="motion",
        config=configuration,
        **_extra(_threads(fsl, "topup", threads)),
    )
    return _run(interface, fsl, work, ["topup_fieldcoef.nii.gz", "topup_movpar.txt", "field.nii.gz", "motion_01.mat"])


def apply_topup(work: Path, image: str, *, row: int, output: str) -> str:
    """Unwarp one image with TOPUP's result and Jacobian modulation.

    Args:
        work: the folder where :func:`topup` ran.
        image: name of the image there.
        row: row of ``acqparams.txt``, from 1, with the image's phase encoding.
        output: name of the result.

    Raises:
        ToolError: applytopup failed.
    """
    interface = interfaces().ApplyTOPUP(
        in_files=[str(work / image)],
        encoding_file=str(work / "acqparams.txt"),
        in_index=[row],
        in_topup_fieldcoef=str(work / "topup_fieldcoef.nii.gz"),
        in_topup_movpar=str(work / "topup_movpar.txt"),
        method="jac",
        interp="spline",
        out_corrected=str(work / output),
    )
    return _run(interface, find_fsl(), work, [output])


def bet(work: Path, image: str, settings: dict) -> str:
    """Brain mask ``brain_mask.nii.gz`` of an image by BET.

    Args:
        work: folder of the image.
        image: its name.
        settings: block ``fsl.bet``.

    Raises:
        ToolError: BET failed.
    """
    interface = interfaces().BET(
        in_file=str(work / image),
        out_file=str(work / "brain.nii.gz"),
        mask=True,
        frac=settings["fractional_intensity"],
        robust=settings["robust"],
    )
    return _run(interface, find_fsl(), work, ["brain_mask.nii.gz"])


def _eddy_options(fsl: Fsl, program: str, settings: dict, reference: int, threads: int) -> list[str]:
    """Options that nipype's interface lacks or spells wrongly (its --ol_nstd takes no value)."""
    options = [f"--ref_scan_no={reference}"] if reference else []
    if settings["replace_outliers"]:
        options.append(f"--ol_nstd={settings['outlier_threshold_sd']:g}")
    if settings["device"] == "cpu":
        options.append(_threads(fsl, program, threads))
    return options


def _slice_to_volume(work: Path, settings: dict) -> dict:
    if not settings["slice_to_volume_order"]:
        return {}
    if settings["device"] != "cuda":
        raise SettingError("Only eddy's CUDA programs correct motion within a volume (fsl.eddy.slice_to_volume_order)",
                           found="fsl.eddy.device: cpu", remedy="set it to cuda, or the order to 0")  # fmt: skip
    return {
        "mporder": settings["slice_to_volume_order"],
        "slice2vol_niter": settings["slice_to_volume_iterations"],
        "slice2vol_lambda": settings["slice_to_volume_regularisation"],
        "slice2vol_interp": "trilinear",
        "slice_order": str(work / "slspec.txt"),
    }


def _eddy_field(work: Path, field: str | None) -> dict:
    if field == "topup":
        coefficients, motion = work / "topup_fieldcoef.nii.gz", work / "topup_movpar.txt"
        return {"in_topup_fieldcoef": str(coefficients), "in_topup_movpar": str(motion)}
    return {"field": str(work / "field.nii.gz")} if field == "field" else {}


def eddy(work: Path, settings: dict, *, field: str | None, reference: int = 0, threads: int = 1) -> str:
    """eddy on ``dwi.nii.gz`` with ``bvals``, ``bvecs``, ``mask.nii.gz``, ``acqparams.txt`` and ``index.txt``.

    Writes ``eddy.nii.gz``, ``eddy.eddy_parameters``, ``eddy.eddy_rotated_bvecs`` and eddy's other records.

    Args:
        work: folder of these files.
        settings: block ``fsl.eddy``.
        field: ``topup`` (TOPUP's results are in the folder), ``field`` (``field.nii.gz`` in Hz), or None.
        reference: number of the volume, from 0, whose head position is kept.
        threads: threads of a CPU program.

    Raises:
        SettingError: slice-to-volume correction is asked for without CUDA.
        ToolError: no such program, or eddy failed.
    """
    fsl = find_fsl()
    program = eddy_program(fsl, settings)
    interface = interfaces().Eddy(
        use_cuda=settings["device"] == "cuda",
        num_threads=threads,
        in_file=str(work / "dwi.nii.gz"),
        in_mask=str(work / "mask.nii.gz"),
        in_index=str(work / "index.txt"),
        in_acqp=str(work / "acqparams.txt"),
        in_bvec=str(work / "bvecs"),
        in_bval=str(work / "bvals"),
        out_base=str(work / "eddy"),
        flm=settings["first_level_model"],
        slm=settings["second_level_model"],
        niter=settings["iterations"],
        repol=settings["replace_outliers"],
        is_shelled=settings["data_is_shelled"],
        cnr_maps=settings["quality_report"],
        residuals=settings["quality_report"],
        **_extra(*_eddy_options(fsl, program, settings, reference, threads)),
        **_eddy_field(work, field),
        **_slice_to_volume(work, settings),
    )
    interface._cmd = program  # nipype knows eddy_openmp and eddy_cuda only
    return _run(interface, fsl, work, ["eddy.nii.gz", "eddy.eddy_parameters", "eddy.eddy_rotated_bvecs"])


def eddy_quad(work: Path, *, has_field: bool, has_slices: bool) -> str:
    """eddy's quality report of a finished :func:`eddy` run, in ``quad/qc.pdf`` and ``quad/qc.json``.

    Raises:
        ToolError: eddy_quad failed.
    """
    extra = {"field": str(work / "field.nii.gz")} if has_field else {}
    extra |= {"slice_spec": str(work / "slspec.txt")} if has_slices else {}
    interface = interfaces().EddyQuad(
        base_name=str(work / "eddy"),
        idx_file=str(work / "index.txt"),
        param_file=str(work / "acqparams.txt"),
        mask_file=str(work / "mask.nii.gz"),
        bval_file=str(work / "bvals"),
        bvec_file=str(work / "eddy.eddy_rotated_bvecs"),
        output_dir=str(work / "quad"),
        **extra,
    )
    return _run(interface, find_fsl(), work, ["quad/qc.pdf", "quad/qc.json"])


def dtifit(work: Path, output: str, *, weighted: bool, kurtosis: bool = False) -> str:
    """DTIFIT on ``dwi.nii.gz`` with ``bvals``, ``bvecs`` and ``mask.nii.gz``; writes ``<output>_FA.nii.gz`` ...

    Args:
        work: folder of these files.
        output: base name of the results.
        weighted: weighted instead of ordinary least squares.
        kurtosis: estimate the mean kurtosis too (``<output>_kurt.nii.gz``).

    Raises:
        ToolError: DTIFIT failed.
    """
    interface = interfaces().DTIFit(
        dwi=str(work / "dwi.nii.gz"),
        mask=str(work / "mask.nii.gz"),
        bvecs=str(work / "bvecs"),
        bvals=str(work / "bvals"),
        base_name=output,
        save_tensor=True,
        **_extra("--wls" if weighted else "", "--kurt" if kurtosis else ""),
    )
    names = ["FA", "MD", "L1", "L2", "L3", "V1", "S0", "tensor"] + ["kurt"] * kurtosis
    return _run(interface, find_fsl(), work, [f"{output}_{name}.nii.gz" for name in names])


def flirt(work: Path, *, cost: str) -> str:
    """Rigid registration of ``moving.nii.gz`` to ``brain.nii.gz`` by FLIRT; writes ``registered.mat``.

    Args:
        work: folder of these files.
        cost: FLIRT's cost function.

    Raises:
        ToolError: FLIRT failed.
    """
    interface = interfaces().FLIRT(
        in_file=str(work / "moving.nii.gz"),
        reference=str(work / "brain.nii.gz"),
        out_file=str(work / "registered.nii.gz"),
        out_matrix_file=str(work / "registered.mat"),
        dof=6,
        cost=cost,
        cost_func=cost,
    )
    return _run(interface, find_fsl(), work, ["registered.mat"])


def epi_reg(work: Path) -> str:
    """Boundary-based registration of ``moving.nii.gz`` to ``head.nii.gz`` by epi_reg; writes ``registered.mat``.

    Args:
        work: folder of these files, of the head without skull (``brain.nii.gz``) and its white matter
            (``white.nii.gz``, 0 or 1).

    Raises:
        ToolError: epi_reg failed.
    """
    interface = interfaces().EpiReg(
        epi=str(work / "moving.nii.gz"),
        t1_head=str(work / "head.nii.gz"),
        t1_brain=str(work / "brain.nii.gz"),
        wmseg=str(work / "white.nii.gz"),
        out_base=str(work / "registered"),
    )
    return _run(interface, find_fsl(), work, ["registered.mat"])
