"""Draw the denoised slices of a held-out subject and the agreement of their perfusion with the truth."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.asl_denoise.figures import plot_denoised

        packages = {
            "Dilated Conv": smk.input.dilated,
            "DeepASL": smk.input.deepasl,
            "the package": smk.input.package,
        }
        plot_denoised(
            packages, smk.input.test, smk.params.settings,
            synthetic=smk.output.synthetic, real=smk.output.real, agreement=smk.output.agreement,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
