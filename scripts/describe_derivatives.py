"""Write the description of a derivative data set."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.bids.derivatives import write_description

        write_description(smk.output.description, smk.wildcards.dataset)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
