"""Does a session fit the model? Demands of a package against what a session is; messages name the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scan2map.errors import DataError

RELATIVE_TOLERANCE = 1e-3


def _same(found: Any, wanted: Any, tolerance: float) -> bool:
    """Equality of words, numbers or lists of numbers; numbers within a relative tolerance."""
    try:
        first, second = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    except (TypeError, ValueError):
        return found == wanted
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=tolerance, atol=1e-12))


def _inside(found: Any, demand: Mapping[str, Any]) -> bool:
    values = np.atleast_1d(np.asarray(found, dtype=float))
    low, high = demand.get("minimum", -np.inf), demand.get("maximum", np.inf)
    return bool(values.size) and bool(np.all((values >= low) & (values <= high)))


def fits(found: Any, demand: Mapping[str, Any]) -> bool:
    """Whether a value meets a demand.

    Args:
        found: a word, number or list of numbers; ``None`` (not known) never fits.
        demand: ``equals`` (with ``tolerance``, relative), ``one_of``, or ``minimum`` and ``maximum``; ``unit``
            for messages.
    """
    if found is None:
        return False
    tolerance = demand.get("tolerance", RELATIVE_TOLERANCE)
    if "equals" in demand:
        return _same(found, demand["equals"], tolerance)
    if "one_of" in demand:
        return any(_same(found, wanted, tolerance) for wanted in demand["one_of"])
    return _inside(found, demand)


def _written(value: Any) -> str:
    """A word as it is, numbers with six digits at most."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def words(demand: Mapping[str, Any]) -> str:
    """A demand in words."""
    unit = f" {demand['unit']}" if demand.get("unit") else ""
    if "equals" in demand:
        return f"{_written(demand['equals'])}{unit}"
    if "one_of" in demand:
        return "one of " + ", ".join(map(_written, demand["one_of"])) + unit
    return f"{_written(demand.get('minimum', '-inf'))} to {_written(demand.get('maximum', 'inf'))}{unit}"


def check_acquisition(demands: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any], package: str) -> None:
    """Stop unless a session is what a package was trained for.

    Args:
        demands: by name, see :func:`fits`.
        found: the session's values by the same names.
        package: name of the package, for the message.

    Raises:
        DataError: the message lists every difference.
    """
    wrong = [name for name, demand in demands.items() if not fits(found.get(name), demand)]
    if not wrong:
        return
    raise DataError(
        f"The acquisition does not match what the model {package} was trained for",
        found=", ".join(f"{name} = {_written(found.get(name, 'not known'))}" for name in wrong),
        allowed=", ".join(f"{name} = {words(demands[name])}" for name in wrong),
        remedy="correct the sidecar if it is wrong; otherwise train a model for this acquisition, or name its package",
    )
