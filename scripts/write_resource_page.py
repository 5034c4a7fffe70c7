"""Write what the jobs and trainings of a study took, as a page and a table."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.reporting.resources_page import write_resource_page

        write_resource_page(
            smk.params.results,
            smk.params.benchmarks,
            page=smk.output.page,
            table=smk.output.table,
            study=smk.params.study,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
