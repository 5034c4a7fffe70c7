"""Disturb a simulated diffusion scan in one way and measure what the correction leaves of it."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.dwi_experiments import run_dwi_experiment

        run_dwi_experiment(
            smk.output.table,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            condition=smk.wildcards.condition,
            head=smk.params.head,
            protocol=smk.params.protocol,
            steps=smk.params.steps,
            settings=smk.params.settings,
            seed=smk.params.seed,
            device=smk.params.device,
            threads=smk.threads,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
