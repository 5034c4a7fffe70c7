"""Stored values on one scale: some vendors store each series on a scale of its own."""

from __future__ import annotations

from scan2map.preprocess.asl.sidecar import Sidecar

FLOAT_FLAG, RESCALE_SLOPE, SCALE_SLOPE = "UsePhilipsFloatNotDisplayScaling", "PhilipsRescaleSlope", "PhilipsScaleSlope"


def stored_scale(meta: Sidecar) -> float:
    """Factor that takes the values of a converted image to the scale that all series of a session share.

    Philips fits the stored integers of each series to their range. dcm2niix undoes this ("float" values) unless it
    was told otherwise; "display" values are divided by rescale slope times scale slope here.

    Args:
        meta: sidecar of the image.

    Raises:
        DataError: the values are display values and a slope is missing or zero.

    Source: Chenevert et al. 2014, Translational Oncology 7:65.
    """
    if FLOAT_FLAG not in meta or meta.number(FLOAT_FLAG, above=-1, most=1) == 1:
        return 1.0
    return 1 / (meta.number(RESCALE_SLOPE) * meta.number(SCALE_SLOPE))
