"""Draw the validation of dwi_vae."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.dwi_vae.figures import plot_validation

        plot_validation(
            smk.input.tables,
            {"": smk.input.package, **dict(zip(("mlp", "unig", "gmm"), smk.input.others, strict=True))},
            smk.input.test, smk.params.variant,
            noise=smk.output.noise, maps=smk.output.maps, latent=smk.output.latent,
            calibration=smk.output.calibration,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
