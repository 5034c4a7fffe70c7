"""Is a labelling series fit for use? The metadata are read as the processing will read them, before any job starts."""

from __future__ import annotations

from collections.abc import Mapping

from scan2map.bids.layout import BidsFile
from scan2map.errors import DataError
from scan2map.preprocess.asl.metadata import read_labelling, require_m0

# What of the block ``asl`` decides whether a series can be used.
SETTINGS = ("slice_timing", "suppression_pulses", "without_m0")


def asl_problem(file: BidsFile, shape: tuple[int, ...], m0: BidsFile | None, settings: Mapping) -> str | None:
    """What keeps a labelling series from being quantified; ``None`` if it is complete.

    Args:
        file: the series.
        shape: of its image.
        m0: the session's M0 image.
        settings: block ``asl``, at least ``SETTINGS``.
    """
    try:
        labelling = read_labelling(file.path, m0.path if m0 else None, shape, settings)
        require_m0(labelling, settings["without_m0"])
    except DataError as error:
        return error.without_file
    return None
