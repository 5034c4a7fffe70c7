"""Judge the quality of a session's perfusion map."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.assess import assess_cbf_files

        assess_cbf_files(
            smk.input.cbf,
            smk.input.series,
            smk.input.labelling,
            smk.input.pairs,
            smk.input.mask,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm},
            smk.input.motion,
            smk.input.transform,
            smk.input.template,
            corrected=smk.params.corrected,
            metrics=smk.output.metrics,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
