"""Predict the maps of a session with the package that the settings name."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.predict import predict_maps

        predict_maps(
            smk.wildcards.system,
            smk.input.package,
            dict(smk.input.items()),
            smk.output.maps,
            subject=smk.wildcards.subject,
            session=smk.wildcards.session,
            compute=smk.params.compute,
            checkpoints=smk.params.checkpoints,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
