"""Write the description of the ground-truth data set."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.phantom.truth import write_description

        write_description(smk.output.description)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
