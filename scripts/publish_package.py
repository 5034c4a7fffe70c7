"""Copy a trained package together with its validation."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.package import publish_package

        publish_package(smk.input.package, smk.input.metrics, smk.output.package)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
