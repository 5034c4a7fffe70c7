"""Draw the validation of bssfp_dti."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.bssfp_dti.figures import plot_validation

        plot_validation(
            smk.input.tables, smk.input.histories,
            {"": smk.input.package, **dict(zip(smk.params.shown, smk.input.others, strict=True))},
            smk.input.test,
            elements=smk.output.elements, scalars=smk.output.scalars, errors=smk.output.errors,
            losses=smk.output.losses, spread=smk.output.spread,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
