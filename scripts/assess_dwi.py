"""Judge the quality of a diffusion scan in one row of numbers."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.dwi.qc import assess_dwi

        assess_dwi(dict(smk.input.items()), smk.params.settings, metrics=smk.output.metrics)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
