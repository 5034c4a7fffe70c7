"""Describe the results of a study as an RO-Crate."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.reporting.crate import write_crate

        write_crate(smk.params.root, smk.output.crate, title=smk.params.title)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
