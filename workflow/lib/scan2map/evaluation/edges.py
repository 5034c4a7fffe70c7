"""Width of an edge, the price of smoothness."""

from __future__ import annotations

import numpy as np

LOW, HIGH = 0.1, 0.9


def crossing(places: np.ndarray, profile: np.ndarray, level: float) -> float:
    """Place where a falling profile passes a level for the first time, by linear interpolation."""
    below = int(np.argmax(profile < level))
    fraction = (profile[below - 1] - level) / (profile[below - 1] - profile[below])
    return float(places[below - 1] + fraction * (places[below] - places[below - 1]))


def edge_width(places: np.ndarray, profile: np.ndarray) -> float:
    """10 % to 90 % width of a falling profile, in the unit of ``places``; its plateaus are the ends' means."""
    order = np.argsort(places)
    places, profile = places[order], profile[order]
    tail = len(profile) // 4
    top, bottom = profile[:tail].mean(), profile[-tail:].mean()
    scaled = (profile - bottom) / (top - bottom)
    return crossing(places, scaled, LOW) - crossing(places, scaled, HIGH)
