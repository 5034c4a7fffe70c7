"""Roles of series with several delays, and the maps that their joint fit writes. Light to import: the rules use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Value of the entity acq- of a series, and the role of its BIDS files.
ROLES = {"multipld": "asl_multipld", "vsasl": "vsasl"}
ACQUISITION = "multidelay"
# Map: suffix and description entity of its file.
MAPS = {"cbf": ("cbf", None), "att": ("att", None), "sd_cbf": ("cbf", "sd"), "sd_att": ("att", "sd")}
ARTERIAL_MAPS = {"abv": ("abv", None), "sd_abv": ("abv", "sd")}


def roles(series: Sequence[str]) -> dict[str, str]:
    """Roles of the series that the settings name, by their ``acq`` entity, in the order of ``ROLES``."""
    return {name: role for name, role in ROLES.items() if name in series}


def map_files(derivative: Callable[..., str], arterial_component: bool) -> dict[str, str]:
    """Files of the maps that the joint fit writes, by name.

    Args:
        derivative: the workflow's function from entities to a path.
        arterial_component: whether arterial blood volume is fitted.
    """
    maps = MAPS | (ARTERIAL_MAPS if arterial_component else {})
    return {name: derivative("perf", suffix, acq=ACQUISITION, desc=desc) for name, (suffix, desc) in maps.items()}
