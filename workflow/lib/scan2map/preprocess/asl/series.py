"""The volumes of an ASL series sorted: what carries perfusion, and the M0 image."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.asl.metadata import Labelling, read_labelling, require_m0, save_labelling
from scan2map.preprocess.asl.scaling import stored_scale
from scan2map.preprocess.asl.sidecar import Sidecar
from scan2map.provenance import write_sidecar

LOGGER = logging.getLogger("scan2map")

# Blood holds a few per cent of the brain's water, so differences are below 3 % of M0; a tenth is another scale.
LARGEST_DIFFERENCE = 0.1
BRIGHT_PERCENTILE = 98


def split_series(series: Image, labelling: Labelling) -> tuple[Image, Labelling]:
    """The control and label volumes of a series, or the difference images of one without them, and their labelling.

    Args:
        series: (x, y, z, t).
        labelling: of that series.
    """
    used = labelling.volumes_of("control", "label") or labelling.volumes_of("deltam")
    return Image(series.data[..., used], series.affine), labelling.restricted_to(used)


def find_m0(series: Image, labelling: Labelling, separate: Image | None, without_m0: str) -> Image:
    """The M0 image as acquired, (x, y, z): mean of the M0 volumes.

    Args:
        series: (x, y, z, t).
        labelling: of the series.
        separate: the separate M0 image, or None.
        without_m0: what to do where no M0 was acquired: ``stop``, or take the mean ``control`` image.

    Raises:
        DataError: there is no M0 and none can be made, or it is empty.
    """
    if labelling.m0_type == "Separate":
        m0 = Image(_mean_volume(separate.data), separate.affine)
    elif labelling.m0_type == "Included":
        m0 = Image(_mean_volume(series.data[..., labelling.volumes_of("m0scan")]), series.affine)
    elif labelling.m0_type == "Estimate":
        m0 = Image(np.full(series.data.shape[:3], labelling.m0_estimate, dtype=np.float32), series.affine)
    else:
        require_m0(labelling, without_m0)
        m0 = Image(series.data[..., labelling.volumes_of("control")].mean(-1), series.affine)
    if labelling.m0_type != "Estimate" and np.ptp(m0.data) == 0:
        raise DataError("The M0 image is empty", remedy="export the M0 series again")
    return m0


def prepare_asl_files(asl: Sequence, m0: Sequence, settings: dict, *, series, m0scan, labelling) -> None:
    """Check a session's ASL metadata and sort its volumes.

    Args:
        asl: the ASL image(s) with sidecar and ``aslcontext.tsv``; the first is used.
        m0: the separate M0 image(s), may be empty; the first is used.
        settings: block ``asl``.
        series, m0scan: output images (the M0 on its own grid).
        labelling: output JSON.

    Raises:
        DataError: metadata or images cannot be used; the message says which and why.
    """
    path, m0_path = _first(asl, "ASL series"), _first(m0, "M0 image")
    if path is None:
        raise DataError("The session has no ASL series", remedy="exclude asl for this session")
    image = _load_scaled(path)
    if image.data.ndim != 4:
        image = Image(image.data[..., None], image.affine)
    found = read_labelling(path, m0_path, image.data.shape, settings)
    separate = _load_scaled(m0_path) if found.m0_type == "Separate" else None
    raw_m0 = find_m0(image, found, separate, settings["without_m0"])
    kept, kept_labelling = split_series(image, found)
    _require_signal(kept, path)
    if kept_labelling.volumes_of("deltam"):
        require_one_scale(kept.data, raw_m0.data * settings["calibration"]["m0_scale"], path)
    sources = [path] + ([m0_path] if found.m0_type == "Separate" else [])
    save_image(series, kept.data, kept.affine)
    save_image(m0scan, raw_m0.data, raw_m0.affine)
    save_labelling(labelling, kept_labelling)
    common = {"step": "prepare_asl", "sources": sources, "settings": settings, "units": "arbitrary"}
    write_sidecar(series, description="Control, label and difference volumes as acquired", **common)
    write_sidecar(m0scan, description=f"M0 image as acquired ({found.m0_type})", M0Type=found.m0_type, **common)


def require_one_scale(differences: np.ndarray, m0: np.ndarray, file) -> None:
    """Stop where difference images of the scanner are on another scale than the M0 image.

    Args:
        differences: (x, y, z, n).
        m0: (x, y, z), on any grid, scaled as in the quantification.
        file: of the differences, for the message.

    Raises:
        DataError: bright voxels hold a larger share of M0 than blood can.
    """
    ratio = np.percentile(differences.mean(-1), BRIGHT_PERCENTILE) / np.percentile(m0, BRIGHT_PERCENTILE)
    if ratio > LARGEST_DIFFERENCE:
        raise DataError(
            "The difference images are on another scale than the M0 image",
            file=file, found=f"{100 * ratio:.0f} % of M0", allowed=f"below {100 * LARGEST_DIFFERENCE:g} %",
            remedy="set asl.calibration.m0_scale (GE multiplies differences by 32 and adds up the excitations)",
        )  # fmt: skip


def _load_scaled(path) -> Image:
    image = load_image(path)
    return Image(image.data * np.float32(stored_scale(Sidecar(path))), image.affine)


def _first(paths: Sequence, what: str):
    paths = list(paths)
    if len(paths) > 1:
        LOGGER.warning("%d files for %s: %s is used, the others are not", len(paths), what, paths[0])
    return paths[0] if paths else None


def _mean_volume(data: np.ndarray) -> np.ndarray:
    return data.mean(-1) if data.ndim == 4 else data


def _require_signal(series: Image, path) -> None:
    flat = [index for index in range(series.data.shape[3]) if np.ptp(series.data[..., index]) == 0]
    if flat:
        raise DataError(
            "ASL volumes are empty", file=path, found=f"volumes {flat}", remedy="export the series again or exclude it"
        )
