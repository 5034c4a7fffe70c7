"""Write the page of all figures and tables, what each one answers, and why others are not made."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.reporting.figures_page import write_figure_index

        write_figure_index(
            smk.input.listed, smk.params.systems, smk.params.folder, smk.params.validation,
            index=smk.output.index, tables=smk.output.tables, study=smk.params.study,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
