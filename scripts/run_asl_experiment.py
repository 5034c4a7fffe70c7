"""Fit simulated difference signals of one subject and measure errors of perfusion and transit time."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.asl_experiments import run_asl_experiment

        run_asl_experiment(
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            head=smk.params.head,
            protocol=smk.params.protocol,
            settings=smk.params.settings,
            seed=smk.params.seed,
            threads=smk.threads,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
