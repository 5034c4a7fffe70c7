"""Put the members of an ensemble into one package."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.package import write_package

        write_package(smk.input.weights, smk.input.summaries, smk.params.parts, smk.output.package)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
