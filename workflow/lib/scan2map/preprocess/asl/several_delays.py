"""Perfusion of a session whose labelled series has several delays: the joint fit instead of the consensus formula."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.images import Image
from scan2map.preprocess.asl.calibration import calibrate_m0
from scan2map.preprocess.asl.metadata import Labelling
from scan2map.preprocess.asl.multidelay import DelaySeries, quantify_delays
from scan2map.preprocess.asl.quantify import Perfusion


def has_several_delays(labelling: Labelling) -> bool:
    """Whether the labelled volumes differ in delay or label duration."""
    used = labelling.volumes_of("control", "label", "deltam")
    return len({(labelling.delays_s[index], labelling.durations_s[index]) for index in used}) > 1


def quantify_several(
    series: np.ndarray, m0: Image, mask: np.ndarray, tissues: dict[str, np.ndarray], labelling: Labelling,
    settings: Mapping,
) -> Perfusion:  # fmt: skip
    """Perfusion map of one series with several delays; arguments and errors as in ``quantify``.

    The mean difference image is that over all used pairs, whatever their delay.
    """
    later = np.array(labelling.slice_delays_s or (0.0,) * mask.shape[2], dtype=np.float32)
    one = DelaySeries(series, labelling, np.broadcast_to(later, mask.shape))
    maps, (found,) = quantify_delays([one], m0, mask, tissues, labelling, settings)
    calibrated, _ = calibrate_m0(
        m0, mask, tissues, settings["calibration"], labelling.m0_repetition_time_s, labelling.echo_time_s
    )
    difference = found.pairs.images[..., found.fate == "used"].mean(-1)
    facts = {"M0Type": labelling.m0_type, "M0RepetitionTime": labelling.m0_repetition_time_s}
    flat = {name: value[0] if isinstance(value, list) and len(value) == 1 else value
            for name, value in maps.assumptions.items()}  # fmt: skip
    return Perfusion(maps.images["cbf"], difference, calibrated, found.pairs, found.fate, flat | facts)
