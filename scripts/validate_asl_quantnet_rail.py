"""Hold network and least squares on the simulated sessions of this study against their targets."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.model_targets import validate_model

        validate_model(
            smk.input.tables, smk.output.table, targets=smk.input.targets, variant="", settings=smk.params.settings
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
