"""Stack the quality rows of all scans of a modality."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.quality_group import gather_quality

        gather_quality(smk.input.tables, smk.params.scans, smk.output.table)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
