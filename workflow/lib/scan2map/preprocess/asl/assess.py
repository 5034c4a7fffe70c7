"""The quality of a session's perfusion map: everything that can be said about it, in one row, after it is written."""

from __future__ import annotations

import json

import numpy as np

from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.asl.coregister import TISSUES
from scan2map.preprocess.asl.difference import recorded_differences
from scan2map.preprocess.asl.metadata import load_labelling
from scan2map.preprocess.asl.partial_volume import LEAST_TISSUE
from scan2map.preprocess.asl.quality import quality_metrics, save_metrics
from scan2map.preprocess.registration import Transform, load_transform, voxel_centres
from scan2map.provenance import sidecar_path
from scan2map.quality.gates import check_map

# Median of a perfusion map beyond which something is on another scale, ml/100g/min.
MEDIAN_RANGE = (0.5, 200.0)


def right_hemisphere(grid: Image, to_t1w: Transform, to_template: Transform) -> np.ndarray:
    """Voxels of the ASL grid that lie right of the template's midline.

    Args:
        grid: gives the ASL grid.
        to_t1w: transform that resamples the ASL scan onto the T1w image.
        to_template: transform that resamples MNI152 onto the T1w image.
    """
    shape = grid.data.shape[:3]
    points = to_template.points(to_t1w.inverse().points(voxel_centres(shape, grid.affine)))
    return (points[:, 0] > 0).reshape(shape)


def fractions_of_tissue(tissues: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of GM and WM in the perfused tissue of each voxel: what a partial-volume-corrected map is made of."""
    perfused = tissues["GM"] + tissues["WM"]
    inside = perfused > LEAST_TISSUE
    return {name: np.where(inside, values / np.maximum(perfused, LEAST_TISSUE), 0) for name, values in tissues.items()}


def assess_cbf_files(
    cbf,
    series,
    labelling,
    pairs,
    mask,
    tissues: dict[str, str],
    motion,
    transform,
    template,
    *,
    corrected: bool,
    metrics,
) -> None:
    """Write the row of quality metrics of a perfusion map.

    Args:
        cbf: the map.
        series, labelling, pairs: motion-corrected volumes, their labelling and the table of pairs.
        mask, tissues: brain and tissue fractions (by label) on the ASL grid.
        motion: table of head motion.
        transform: ASL to T1w.
        template: MNI152 to T1w.
        corrected: whether the map is corrected for partial volumes.
        metrics: output table.

    Raises:
        DataError: the map is empty, constant, not finite, or out of any range.
    """
    import pandas as pd

    image, brain, volumes = load_image(cbf), load_image(mask), load_image(series)
    require_same_grid(image, brain, names=("CBF", "brain mask"))
    inside = brain.data > 0
    check_map(image.data, inside, name="CBF", unit="ml/100g/min", median_range=MEDIAN_RANGE, file=cbf)
    fractions = {label: load_image(tissues[label]).data for label in TISSUES}
    table = pd.read_csv(pairs, sep="\t", dtype={"volumes": str})
    row = quality_metrics(
        image.data,
        recorded_differences(volumes.data, load_labelling(labelling).volume_types, table["volumes"]),
        (table["fate"] == "used").to_numpy(),
        inside,
        fractions_of_tissue(fractions) if corrected else fractions,
        image.affine,
        right_hemisphere(image, load_transform(transform), load_transform(template)),
        displacement_mm=pd.read_csv(motion, sep="\t")["framewise_displacement"].to_numpy(),
        registration=json.loads(sidecar_path(transform).read_text()),
    )
    save_metrics(metrics, row, step="assess_cbf")
