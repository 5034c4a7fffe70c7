"""Hold network and least squares on the simulated sessions of this study against their targets."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.rail import validate_rail

        validate_rail(
            smk.input.tables, smk.output.table, targets=smk.input.targets, kinds=["phantom"],
            settings=smk.params.settings,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
