"""Write the page of the study: who ran, the values beside each other, and how good they are."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.reporting.group_page import write_group_page

        write_group_page(
            dict(smk.input.items()),
            smk.output.page,
            table=smk.output.table,
            ranges=smk.output.ranges,
            study=smk.params.study,
            settings=smk.params.settings,
            bootstrap=smk.params.bootstrap,
            notes=smk.input.notes,
            models=smk.params.models,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
