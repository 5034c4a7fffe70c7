"""Ranges of the regional medians over the study, in a script beside the session pages.

A session's page is written when its session is done, before the study's numbers exist: the browser puts them in.
A script, since a page that is opened as a file may load one from its own folder, but read no table.
"""

from __future__ import annotations

import json

import pandas as pd

from scan2map.reporting.numbers import number, shown_value
from scan2map.reporting.page import write_page
from scan2map.reporting.tracing import range_key, sources_of


def write_ranges(path, table: pd.DataFrame) -> None:
    """Write the lowest and highest median over sessions, by region and metric, with the cells that hold them.

    Args:
        path: the script; it sets ``studyRegions``.
        table: regional values of all sessions with their sources.
    """
    medians = table[table["statistic"] == "median"].dropna(subset="value")
    grouped = medians.groupby(["roi", "metric"])["value"]
    low, high = medians.loc[grouped.idxmin()], medians.loc[grouped.idxmax()]
    ends = zip(low.itertuples(), high["value"], sources_of(low), sources_of(high), strict=True)
    ranges = {
        range_key(first.roi, first.metric): {
            "text": " to ".join(number(shown_value(value, first.unit)) for value in (first.value, last)),
            "sources": sources,
        }
        for first, last, *sources in ends
    }
    count = len(medians[["subject", "session"]].drop_duplicates())
    words = json.dumps({"sessions": count, "ranges": ranges}, ensure_ascii=False, indent=0, sort_keys=True)
    write_page(path, f'"use strict";\nwindow.studyRegions = {words};\n')
