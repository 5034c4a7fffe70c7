"""Quantify perfusion by the consensus formula."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.quantify import quantify_cbf_files

        quantify_cbf_files(
            smk.input.series,
            smk.input.m0,
            smk.input.mask,
            smk.input.labelling,
            smk.input.transform,
            smk.input.t1w,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm},
            smk.params.settings,
            cbf=smk.output.cbf,
            cbf_t1w=smk.output.cbf_t1w,
            deltam=smk.output.deltam,
            calibrated=smk.output.calibrated,
            pairs=smk.output.pairs,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
