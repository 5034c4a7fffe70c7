"""Propose rows of the table of subjects for DICOM folders that it does not name yet."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk) as log:
        from scan2map.bids.discover import discover
        from scan2map.tables import write_table

        rows = discover(smk.params.settings, smk.params.participants)
        write_table(smk.params.proposal, rows, ("subject", "session", "dicom"))
        log.info("%d new sessions; proposed rows: %s", len(rows), smk.params.proposal)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
