"""scan2map: from scanner exports to trusted quantitative maps, evaluation and figures."""

__version__ = "0.1.0"
