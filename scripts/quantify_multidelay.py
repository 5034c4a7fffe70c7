"""Fit perfusion and arterial transit time jointly to all series with several delays."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.multidelay import quantify_multidelay_files

        quantify_multidelay_files(
            list(smk.input.series),
            list(smk.input.labellings),
            list(smk.input.offsets),
            smk.input.m0,
            smk.input.timing,
            smk.input.mask,
            smk.input.transform,
            smk.input.t1w,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm},
            smk.params.settings,
            smk.params.device,
            maps={name: getattr(smk.output, name) for name in smk.params.maps},
            cbf_t1w=smk.output.cbf_t1w,
            att_t1w=smk.output.att_t1w,
            pairs=smk.output.pairs,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
