"""Register the MNI152 template to the T1w image."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.anat.template import register_template_files

        register_template_files(
            smk.input.preproc, smk.input.mask, smk.params.settings, smk.params.seed, transform=smk.output.transform
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
