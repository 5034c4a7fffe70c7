"""Stack the validation tables of finished studies into the one that the README shows."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.rail import merge_validation

        merge_validation(smk.input.sources, smk.output.table)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
