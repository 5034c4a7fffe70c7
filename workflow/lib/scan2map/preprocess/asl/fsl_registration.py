"""The FSL engine of the M0 registration: epi_reg or FLIRT, its matrix read by fslpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.images import Image
from scan2map.preprocess.dwi.fsl_files import write_image
from scan2map.preprocess.dwi.fsl_results import fsl_grid
from scan2map.preprocess.registration import Transform
from scan2map.tools import fsl_commands
from scan2map.tools.fsl import find_fsl

# epi_reg follows the edge of this mask.
WHITE_MATTER = 0.5


def read_flirt(path, moving: Image, fixed: Image) -> Transform:
    """A FLIRT matrix as a transform.

    FLIRT's matrix takes FSL's millimetres of the moving image to those of the fixed one; neither knows the scanner's
    axes.

    Args:
        path: the matrix.
        moving, fixed: images on the grids that FLIRT was given, in any storage order of the same head.

    Returns:
        World of the fixed image to world of the moving image.
    """
    from fsl.transform.flirt import fromFlirt, readFlirt

    forward = fromFlirt(readFlirt(path), fsl_grid(moving), fsl_grid(fixed), "world", "world")
    return Transform(np.linalg.inv(forward))


def register_by_fsl(
    image: Image, head: Image, brain: Image, wm: Image, settings: Mapping, *, beside
) -> tuple[Transform, dict]:
    """Rigid registration of an M0 image to a T1w image.

    Args:
        image: M0 image, (x, y, z).
        head, brain: T1w image with and without skull.
        wm: white-matter fraction on the T1w grid.
        settings: block ``fsl.registration``.
        beside: a path in whose folder FSL may work.

    Returns:
        The transform (T1w world to M0 world) and facts for the sidecar.

    Raises:
        ToolError: FSL is missing or failed.
    """
    with fsl_commands.work_folder(beside) as work:
        write_image(work / "moving.nii.gz", image)
        write_image(work / "brain.nii.gz", brain)
        if settings["program"] == "flirt":
            command = fsl_commands.flirt(work, cost=settings["cost"])
        else:
            write_image(work / "head.nii.gz", head)
            write_image(work / "white.nii.gz", Image(wm.data > WHITE_MATTER, wm.affine), dtype=np.uint8)
            command = fsl_commands.epi_reg(work)
        transform = read_flirt(work / "registered.mat", image, brain)
    return transform, {"Engine": "fsl", "FSLVersion": find_fsl().version, "CommandLines": [command]}
