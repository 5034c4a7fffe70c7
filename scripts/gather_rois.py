"""Stack the regional values of all sessions."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.roi_table import gather_rois

        gather_rois(smk.input.tables, smk.output.table)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
