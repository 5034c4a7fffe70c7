"""One context manager for every rule script: messages and tracebacks go to the rule's log."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scan2map.errors import DataError, Scan2mapError

LOGGER = logging.getLogger("scan2map")
MODALITIES = {"anat": "anat", "dwi": "dwi", "fmap": "dwi", "perf": "asl"}


class _Collector(logging.Handler):
    """Keeps the words of what is logged, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() not in self.found:
            self.found.append(record.getMessage())


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """A list that fills with the warnings logged inside, which reach the log all the same."""
    collector = _Collector()
    LOGGER.addHandler(collector)
    try:
        yield collector.found
    finally:
        LOGGER.removeHandler(collector)


def _failure_record(smk) -> Path | None:
    """Where a failed session leaves its note: beside the log, one file per rule and session."""
    wildcards = getattr(smk, "wildcards", None)
    if not (getattr(wildcards, "subject", None) and getattr(wildcards, "session", None)):
        return None
    return Path(str(smk.log[0])).with_suffix(".failed.json")


def _modality(output) -> str:
    """The modality of a step, from the BIDS datatype folder of its first output."""
    return MODALITIES.get(Path(str(output)).parent.name, "other")


def _record_failure(smk, error: DataError) -> None:
    record = _failure_record(smk)
    if record is None:
        return
    wildcards = {key: str(value) for key, value in dict(smk.wildcards).items()}
    modality = wildcards.get("system") or _modality(smk.output[0])
    note = {"rule": getattr(smk, "rule", ""), "modality": modality, **wildcards, "reason": str(error)}
    record.write_text(json.dumps(note, indent=1))


@contextmanager
def rule_log(smk):
    """Send log messages of a rule to its log file and standard error; keep the traceback there too.

    A :class:`~scan2map.errors.Scan2mapError` ends the job with exit code 1 and its one plain message; for a
    problem with one session's data a failure note is left beside the log, which the next run reads to go on
    without that session. Any other exception is re-raised after its traceback was written.

    Args:
        smk: the ``snakemake`` object of the script (or a namespace with ``log``, ``wildcards`` and ``rule``).
    """
    path = Path(str(smk.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".failed.json").unlink(missing_ok=True)
    handlers = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        LOGGER.addHandler(handler)
    LOGGER.setLevel(os.environ.get("SCAN2MAP_LOG_LEVEL", "INFO"))
    try:
        yield LOGGER
    except Exception as error:
        handlers[0].stream.write(traceback.format_exc())
        if isinstance(error, DataError):
            _record_failure(smk, error)
        if isinstance(error, Scan2mapError):
            LOGGER.error("%s", error)
            raise SystemExit(1) from error
        raise
    finally:
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()
