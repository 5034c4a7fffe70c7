"""Run a system's validation protocol on a package, on held-out subjects."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.evaluate import evaluate_package

        evaluate_package(
            smk.input.package,
            smk.input.test,
            smk.output.table,
            variant=smk.wildcards.variant,
            settings=smk.params.settings,
            compute=smk.params.compute,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
