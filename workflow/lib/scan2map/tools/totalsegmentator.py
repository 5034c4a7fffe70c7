"""TotalSegmentator (Apache-2.0), optional: its skull instead of a threshold, with weights that the lab has on disk."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scan2map.errors import SettingError, ToolError
from scan2map.provenance import write_json
from scan2map.tools.commands import find_program, run_program

if TYPE_CHECKING:  # the doctor reads this file where there is neither NumPy nor NiBabel
    import numpy as np

    from scan2map.images import Image

# The model of ``total --fast`` (3 mm); with it on disk nothing is fetched.
MODEL = "Dataset297"
PROGRAM = "TotalSegmentator"
# It would otherwise ask for an identity and send usage statistics.
SILENT = {"totalseg_id": "none", "send_usage_stats": False, "prediction_counter": 0}


def check_weights(weights) -> Path:
    """The folder of the weights.

    Raises:
        SettingError: none is named, or the model is not in it.
    """
    folder = Path(weights or "")
    if not weights or not any(folder.glob(f"{MODEL}*")):
        raise SettingError(
            "The weights of TotalSegmentator are missing", file=weights or None, allowed=f"a folder with {MODEL}_…",
            remedy="set ctmr.bone.weights to the folder that TotalSegmentator's release files were unpacked into",
        )  # fmt: skip
    return folder.resolve()


def segment_skull(ct: Image, weights) -> np.ndarray:
    """Mask of the skull on the grid of a CT.

    Args:
        ct: HU, (x, y, z).
        weights: folder of TotalSegmentator's weights.

    Raises:
        SettingError: the weights are missing.
        ToolError: the program is missing, fails or writes no skull.

    Source: Wasserthal et al. 2023, Radiology: Artificial Intelligence 5:e230024.
    """
    from scan2map.images import load_image, save_image

    folder = check_weights(weights)
    program = find_program(PROGRAM, PROGRAM)
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        save_image(home / "ct.nii.gz", ct.data, ct.affine)
        write_json(home / "config.json", SILENT)
        command = [program, "-i", f"{home}/ct.nii.gz", "-o", f"{home}/found", "--task", "total", "--fast"]
        run_program(
            [*command, "--device", "cpu"],
            environment={"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": str(folder)},
        )
        skull = home / "found" / "skull.nii.gz"
        if not skull.is_file():
            raise ToolError("TotalSegmentator wrote no skull", remedy="look at the CT and at the program's version")
        return load_image(skull).data > 0.5
