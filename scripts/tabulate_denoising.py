"""Write the paper's table 1 with our numbers beside the published ones, and its picture."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.asl_denoise.table import tabulate

        tabulate(
            smk.input.tables, smk.input.published, smk.params.settings, smk.params.variant,
            table=smk.output.table, picture=smk.output.picture,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
