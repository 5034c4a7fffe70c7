"""Runs in asltk's own environment: fits the signals of a file with asltk's CBFMapping and times it.

    python asltk_fit.py signals.npz result.npz

``signals.npz`` holds ``signals`` (voxels, volumes) relative to M0, ``pld_ms``, ``label_duration_ms``, ``partition``,
``cbf_high`` (ml/100g/min) and ``att_high_s``; the result holds ``cbf`` (ml/100g/min), ``att_s`` and, of processor
time, ``seconds``.
"""

import logging
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from asltk.asldata import ASLData
from asltk.reconstruction import CBFMapping

UNIT = 6e6  # ml/100g/min per ml/g/ms
ROW = 50  # voxels per line of the image that asltk reads


def processor_seconds() -> float:
    """Processor time of this process and of those that it has waited for, s."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(source: str, target: str) -> None:
    logging.disable(logging.INFO)
    given = np.load(source)
    signals = given["signals"]
    shape = (len(signals) // ROW, ROW, 1)
    series = signals.T.reshape(1, -1, *shape)
    with tempfile.TemporaryDirectory() as folder:
        m0 = str(Path(folder) / "m0.nii.gz")
        # asltk's model knows no partition coefficient in the label: it goes into M0.
        sitk.WriteImage(sitk.GetImageFromArray(np.full(shape, 1 / float(given["partition"]))), m0)
        delays = given["pld_ms"].tolist()
        durations = [float(given["label_duration_ms"])] * len(delays)
        mapping = CBFMapping(ASLData(pcasl=series, m0=m0, ld_values=durations, pld_values=delays))
        start = processor_seconds()
        maps = mapping.create_map(
            ub=[float(given["cbf_high"]) / UNIT, 1e3 * float(given["att_high_s"])], lb=[0.0, 0.0],
            par0=[50 / UNIT, 1200.0], cores=1,
        )  # fmt: skip
        seconds = processor_seconds() - start
    found = {name: maps[name].get_as_numpy().reshape(-1) for name in ("cbf", "att")}
    np.savez(target, cbf=found["cbf"] * UNIT, att_s=found["att"] / 1e3, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
