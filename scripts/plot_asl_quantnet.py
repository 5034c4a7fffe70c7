"""Draw the validation of the network asl_quantnet."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.asl_quantnet.figures import plot_validation

        plot_validation(
            smk.input.tables, smk.input.package, smk.input.test, smk.params.settings, smk.params.variant,
            linearity=smk.output.linearity, noise=smk.output.noise, maps=smk.output.maps,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
