"""Hold the variants of a system beside each other, by its list of figures."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.model_targets import validate_model

        validate_model(
            smk.input.tables,
            smk.output.table,
            targets=smk.input.targets,
            variant=smk.params.variant,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
