"""Stored values on one scale: some vendors store each series on a scale of its own."""

from __future__ import annotations

from scan2map.preprocess.asl.sidecar import Sidecar

FLOAT_FLAG, REAL_WORLD_SLOPE = "UsePhilipsFloatNotDisplayScaling", "PhilipsRWVSlope"
RESCALE_SLOPE, SCALE_SLOPE = "PhilipsRescaleSlope", "PhilipsScaleSlope"


def stored_scale(meta: Sidecar) -> float:
    """Factor that takes the values of a converted image to the scale that all series of a session share.

    Philips fits the stored integers of each series to their range. dcm2niix undoes this ("precise" values) unless the
    header holds real-world values, which it prefers, or it was told to keep display values: both are divided by their
    own slope times the scale slope here.

    Args:
        meta: sidecar of the image.

    Raises:
        DataError: the values need a slope that is missing or zero.

    Source: Chenevert et al. 2014, Translational Oncology 7:65.
    """
    if REAL_WORLD_SLOPE in meta:
        return 1 / (meta.number(REAL_WORLD_SLOPE) * meta.number(SCALE_SLOPE))
    flag = meta.content.get(FLOAT_FLAG, 1)
    if flag not in (0, 1):
        raise meta.fail(FLOAT_FLAG, "0 (display values) or 1")
    return 1.0 if flag == 1 else 1 / (meta.number(RESCALE_SLOPE) * meta.number(SCALE_SLOPE))
