"""bids-validator-deno, the validator of the BIDS standard (MIT), run offline."""

from __future__ import annotations

import json
import logging
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from scan2map.errors import ToolError
from scan2map.tables import write_table
from scan2map.tools.commands import find_program, package_version, run_program

LOGGER = logging.getLogger("scan2map")
PACKAGE = "bids-validator-deno"
SEVERITIES = ("error", "warning")  # what the configuration ignores is listed as "ignore"
COLUMNS = ("severity", "code", "detail", "files", "example", "message")
# What the standard does not know yet: velocity-selective labelling.
CONFIG = {
    "ignore": [
        {
            "code": "JSON_SCHEMA_VALIDATION_ERROR",
            "subCode": "ArterialSpinLabelingType",
            "location": "**/*_acq-vsasl_asl.json",
        }
    ]
}
EXIT_CODES = (0, 1, 16)  # 16: the data set has errors, which is an answer, not a failure


def version() -> str:
    """Version of the installed validator."""
    return package_version(PACKAGE)


def find_issues(dataset) -> list[dict[str, Any]]:
    """Everything that the validator has to say about a data set.

    Returns:
        One dictionary per finding, with ``severity`` (``error`` or ``warning``), ``code``, ``subCode``, ``location``
        and ``issueMessage``.

    Raises:
        ToolError: the validator is missing, or gives no answer.
    """
    program = find_program(PACKAGE, PACKAGE)
    with tempfile.TemporaryDirectory() as scratch:
        config, answer = Path(scratch, "config.json"), Path(scratch, "answer.json")
        config.write_text(json.dumps(CONFIG))
        command = [program, str(dataset), "--format", "json", "--config", str(config), "--outfile", str(answer)]
        said = run_program(command, environment={"DENO_DIR": scratch, "NO_COLOR": "1"}, allowed=EXIT_CODES)
        try:
            return json.loads(answer.read_text())["issues"]["issues"]
        except (OSError, ValueError, KeyError) as error:
            raise ToolError("The BIDS validator gave no answer", file=dataset, found=said[:300]) from error


def _group(issues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per kind of finding, errors first."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for issue in issues:
        if issue.get("severity") in SEVERITIES:
            groups[issue["severity"], issue.get("code", ""), issue.get("subCode") or ""].append(issue)
    return [
        {
            "severity": severity, "code": code, "detail": detail, "files": len(found),
            "example": found[0].get("location"), "message": (found[0].get("issueMessage") or "")[:200],
        }
        for (severity, code, detail), found in sorted(groups.items())
    ]  # fmt: skip


def validate(dataset, table) -> int:
    """Validate a BIDS data set and write its findings as a table.

    Args:
        dataset: the data set.
        table: the TSV file to write: one row per kind of finding.

    Returns:
        The number of errors.
    """
    rows = _group(find_issues(dataset))
    write_table(table, rows, COLUMNS)
    errors = [row for row in rows if row["severity"] == "error"]
    for row in errors:
        LOGGER.warning("BIDS validator: %(code)s %(detail)s in %(files)d files, first %(example)s", row)
    return sum(row["files"] for row in errors)
