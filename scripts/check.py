"""Say whether everything that the configuration asks for is there, and what will run, for whom and why."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk) as log:
        from scan2map.doctor import check
        from scan2map.old_results import report_old_results
        from scan2map.plan import describe_plan

        log.info(check(smk.params.config, smk.params.participants))
        log.info(report_old_results(smk.params.derivatives))
        log.info(describe_plan(smk.params.config, smk.params.snakefile))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
