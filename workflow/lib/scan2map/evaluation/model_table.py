"""The long table of a model's validation: one value per subject, seed, method, condition, region and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

DICTIONARY = {
    "subject": {"Description": "Held-out subject"},
    "variant": {"Description": "Variant of the network behind the row (also for baselines scored beside it)"},
    "method": {"Description": "Who estimated: network, or the name of a baseline"},
    "condition": {"Description": "What was varied, e.g. snr=2 or scale=4"},
    "roi": {"Description": "Region: a tissue (GM, WM, CSF), brain, lesion, or <atlas>:<label>"},
    "metric": {"Description": "What was measured, e.g. cbf_rmse"},
    "value": {"Description": "The number, in the unit of its row", "Units": "see column unit"},
    "unit": {"Description": "Unit of value; 1 means a ratio without unit"},
    "n": {"Description": "Voxels (or lesions, or realisations) behind the number"},
}
COLUMNS = tuple(DICTIONARY)


def model_table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Rows as a table; a row may leave out ``condition``, ``roi`` and ``n``, and ``variant``, which the rule knows."""
    blank = {"variant": "", "condition": "", "roi": "brain", "n": 0}
    return pd.DataFrame([{**blank, **row} for row in rows], columns=list(COLUMNS))
