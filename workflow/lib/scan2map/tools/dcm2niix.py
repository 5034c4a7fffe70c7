"""dcm2niix, the DICOM to NIfTI converter (BSD-3; started by BIDScoin)."""

from __future__ import annotations

import re
from functools import cache

from scan2map.errors import ToolError
from scan2map.tools.commands import find_program, run_program

VERSION_EXIT_CODES = (0, 3)  # dcm2niix -v ends with 3 in some releases


@cache
def version() -> str:
    """Version of the dcm2niix that will run, for example ``v1.0.20260724``.

    Raises:
        ToolError: it is not installed, or prints no version.
    """
    answer = run_program([find_program("dcm2niix", "dcm2niix"), "-v"], allowed=VERSION_EXIT_CODES)
    found = re.search(r"v\d+\.\d+\.\d+", answer)
    if found is None:
        raise ToolError("dcm2niix does not tell its version", found=answer[:200])
    return found.group()
