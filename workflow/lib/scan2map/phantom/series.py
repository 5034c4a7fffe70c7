"""What the simulated scanner hands over: one acquired series and everything its header must say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AslTiming:
    """Labelling of an ASL series, one entry per volume where a list.

    Attributes:
        labelling: ``PCASL`` or ``VSASL``.
        context: ``control``, ``label`` or ``m0scan`` per volume.
        post_label_delays_s: per volume, s.
        label_duration_s: s (VSASL: bolus duration).
        background_suppression_pulses: number of inversion pulses (0: none).
    """

    labelling: str
    context: tuple[str, ...]
    post_label_delays_s: tuple[float, ...]
    label_duration_s: float
    background_suppression_pulses: int = 0


@dataclass(frozen=True)
class Series:
    """One acquired image series.

    Attributes:
        number: series number within the session.
        description: SeriesDescription; the study map recognises the series by it.
        data: (x, y, z) or (x, y, z, t). Magnitude in arbitrary units >= 0, phase in radians (-pi, pi], CT in HU.
        affine: voxel to world, RAS+ mm, 4x4. The first two voxel axes lie in the slice plane.
        kind: ``magnitude``, ``phase`` or ``ct``.
        is_3d: 3-D readout (one slab) or 2-D slices.
        repetition_time_s, echo_time_s, inversion_time_s: s.
        flip_angle_deg: degrees.
        b_values_s_per_mm2: (t,) or None.
        b_vectors: (t, 3) unit vectors in world RAS, zero where b = 0, or None.
        phase_encoding: ``j`` or ``j-`` along the second voxel axis of the NIfTI image (BIDS), or None.
        total_readout_time_s: s (FSL and BIDS definition), or None.
        slice_times_s: (z,) time of each slice after the start of the volume, or None.
        asl: labelling, or None.
        sequence_name: vendor-like sequence name.
        image_type: DICOM ImageType, or None for the usual one of its kind (derived maps say so here).
    """

    number: int
    description: str
    data: np.ndarray
    affine: np.ndarray
    kind: str = "magnitude"
    is_3d: bool = True
    repetition_time_s: float = 2.0
    echo_time_s: float = 0.003
    flip_angle_deg: float = 90.0
    inversion_time_s: float | None = None
    b_values_s_per_mm2: np.ndarray | None = None
    b_vectors: np.ndarray | None = None
    phase_encoding: str | None = None
    total_readout_time_s: float | None = None
    slice_times_s: np.ndarray | None = None
    asl: AslTiming | None = None
    sequence_name: str = "phantom"
    image_type: tuple[str, ...] | None = None
