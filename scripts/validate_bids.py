"""List what the BIDS validator has to say about the data set."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk) as log:
        from scan2map.tools.validator import validate

        log.info("the BIDS validator found %d errors", validate(smk.params.bids, smk.output.table))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
