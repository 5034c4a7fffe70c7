"""One step, one function, the engine that the settings name: ``embedded`` or ``fsl``.

FSL is imported only where it is asked for; there is no fallback from one engine to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.dwi import correct, dti
from scan2map.preprocess.dwi.mask import METHODS, brain_mask
from scan2map.provenance import sidecar_path, write_sidecar


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def mask_dwi(epi, settings: dict, *, mask, threads: int = 1) -> None:
    """Write the brain mask of the corrected b = 0 images (mean over volumes).

    Args:
        epi: corrected b = 0 images, (x, y, z) or (x, y, z, directions).
        settings: blocks ``dwi`` and ``fsl``.
        mask: output path.
        threads: threads that it may use.

    Raises:
        DataError: no brain is found, or the mask is not plausible.
        ToolError: BET is asked for and FSL is missing.
    """
    _use_threads(threads)
    image = load_image(epi)
    mean = Image(image.data.mean(3) if image.data.ndim == 4 else image.data, image.affine)
    method = settings["dwi"]["mask"]["method"]
    if method == "bet":
        from scan2map.preprocess.dwi.fsl import run_bet

        find = partial(run_bet, settings=settings["fsl"], beside=mask)
    else:
        find = METHODS[method]
    save_image(mask, brain_mask(mean, find), image.affine, dtype=np.uint8)
    write_sidecar(
        mask,
        step="mask_dwi",
        description="Brain mask of the corrected b = 0 image",
        sources=[epi],
        settings=settings["dwi"]["mask"],
        Type="Brain",
    )


def correct_motion(
    files: dict,
    settings: dict,
    *,
    output: dict,
    runs: Sequence = (),
    device: str = "cpu",
    seed: int = 1,
    threads: int = 1,
) -> None:
    """Undo susceptibility distortion, head motion and eddy currents of the merged series.

    Args:
        files: paths ``dwi``, ``bval``, ``bvec``, ``acquisition`` of the merged series, ``fieldmap`` and ``mask``.
        settings: blocks ``dwi`` and ``fsl``.
        output: paths ``dwi``, ``bval``, ``bvec``, ``motion``, ``outliers``.
        runs: the runs of the merged series (their sidecars hold the slice timing).
        device: torch device (embedded engine).
        seed: start of the random choice of voxels (embedded engine).
        threads: threads that it may use.

    Raises:
        DataError: bad input, or volumes without signal.
        ToolError: FSL is asked for and missing, or failed.
    """
    if settings["dwi"]["engine"] == "fsl":
        from scan2map.preprocess.dwi.fsl import run_eddy

        threshold = settings["dwi"]["b0_threshold_s_per_mm2"]
        options = {"b0_threshold": threshold, "step": "correct_motion", "threads": threads}
        run_eddy(**files, settings=settings["fsl"], output=output, sidecars=[*map(sidecar_path, runs)], **options)
        return
    _use_threads(threads)
    correct.correct_motion(**files, settings=settings["dwi"], output=output, device=device, seed=seed)


def fit_tensor(files: dict, settings: dict, *, output: dict, device: str = "cpu", threads: int = 1) -> None:
    """Fit the diffusion tensor of the corrected series and write its checked maps.

    Args:
        files: paths ``dwi``, ``bval``, ``bvec`` of the corrected series and ``mask``.
        settings: blocks ``dwi`` and ``fsl``.
        output: paths of the maps by the names of :data:`scan2map.preprocess.dwi.dti.KINDS`.
        device: torch device (embedded engine).
        threads: threads that it may use.

    Raises:
        DataError: bad input, impossible maps, or b-vectors along wrong axes.
        ToolError: FSL is asked for and missing, or failed.
    """
    if settings["dwi"]["engine"] == "fsl":
        from scan2map.preprocess.dwi.fsl import run_dtifit

        run_dtifit(**files, settings=settings["fsl"], dwi_settings=settings["dwi"], output=output)
        return
    _use_threads(threads)
    dti.fit_tensor_files(**files, settings=settings["dwi"], output=output, device=device)
