"""Diffusion tensors from phase-cycled bSSFP by a conditional adversarial network."""

from scan2map.training.files import PredictedMap, RailFile
from scan2map.training.system import Description

_FA = {"suffix": "dwimap", "unit": "1", "label": "FA", "display": (0.0, 1.0), "colour_map": "gray"}
_MD = {"suffix": "dwimap", "unit": "mm^2/s", "label": "MD (mm²/s)", "display": (0.0, 3e-3), "colour_map": "viridis"}


def _entities(model: str, parameter: str) -> dict[str, str]:
    return {"model": model, "param": parameter}


def _transform(source: str) -> dict[str, str]:
    return {"from_": source, "to": "T1w", "mode": "image"}


def _truth(parameter: str) -> RailFile:
    return RailFile("dwi", "dwimap", entities=_entities("DTI", parameter), root="truth")


def _bssfp(part: str) -> RailFile:
    return RailFile("dwi", "bSSFP", entities={"acq": "pc12", "part": part, "space": "dwi", "desc": "preproc"})


def _colours(name: str, model: str, shown: str, source: str, *, optional: bool = False) -> PredictedMap:
    words = f"Direction of {source} as colour, weighted by FA: red left-right, green front-back, blue up-down."
    return PredictedMap(
        name, "dwi", description=words, entities=_entities(model, "colours"), role="direction", of="fa",
        optional=optional, name_shown=shown, suffix="dwimap", unit="1", label="direction", display=(0.0, 0.8),
        colour_map="rgb",
    )  # fmt: skip


MAPS = (
    PredictedMap(
        "fa", "dwi", description="Fractional anisotropy from bSSFP, network ensemble.",
        entities=_entities("network", "FA"), truth=_truth("FA"), **_FA,
    ),
    PredictedMap(
        "md", "dwi", description="Mean diffusivity from bSSFP, network ensemble.",
        entities=_entities("network", "MD"), truth=_truth("MD"), **_MD,
    ),
    PredictedMap(
        "fa_dwi", "dwi", description="Fractional anisotropy measured by the session's diffusion scan.",
        entities=_entities("measured", "FA"), role="baseline", of="fa", name_shown="Diffusion scan", **_FA,
    ),
    PredictedMap(
        "md_dwi", "dwi", description="Mean diffusivity measured by the session's diffusion scan.",
        entities=_entities("measured", "MD"), role="baseline", of="md", name_shown="Diffusion scan", **_MD,
    ),
    PredictedMap(
        "fa_template", "dwi", description="FA of the mean tensor of the training heads, laid over by registration.",
        entities=_entities("template", "FA"), role="baseline", of="fa", optional=True, name_shown="Template", **_FA,
    ),
    PredictedMap(
        "md_template", "dwi", description="MD of the mean tensor of the training heads, laid over by registration.",
        entities=_entities("template", "MD"), role="baseline", of="md", optional=True, name_shown="Template", **_MD,
    ),
    PredictedMap(
        "signal", "dwi", description="Mean magnitude over the phase cycles, relative to its mean in the brain.",
        entities=_entities("network", "signal"), role="input", of="fa", suffix="dwimap", unit="1",
        label="bSSFP magnitude (relative)", display=(0.0, 2.0), colour_map="gray",
    ),
    _colours("colours", "network", "Direction", "the tensor from bSSFP"),
    _colours("colours_dwi", "measured", "Direction, diffusion scan", "the tensor of the session's diffusion scan"),
    _colours(
        "colours_template", "template", "Direction, template", "the mean tensor of the training heads", optional=True
    ),
    PredictedMap(
        "fa_sd", "dwi", description="Standard deviation of the members' fractional anisotropy.",
        entities=_entities("networksd", "FA"), role="uncertainty", of="fa", **_FA | {"display": (0.0, 0.05)},
    ),
    PredictedMap(
        "md_sd", "dwi", description="Standard deviation of the members' mean diffusivity.",
        entities=_entities("networksd", "MD"), role="uncertainty", of="md", **_MD | {"display": (0.0, 1e-4)},
    ),
    PredictedMap(
        "ad", "dwi", description="Axial diffusivity from bSSFP.", entities=_entities("network", "AD"), role="data",
        **_MD | {"label": "AD (mm²/s)"},
    ),
    PredictedMap(
        "rd", "dwi", description="Radial diffusivity from bSSFP.", entities=_entities("network", "RD"), role="data",
        **_MD | {"label": "RD (mm²/s)"},
    ),
    PredictedMap(
        "tensor", "dwi", description="Dxx, Dxy, Dxz, Dyy, Dyz, Dzz from bSSFP in world axes.",
        entities=_entities("network", "tensor"), role="data", **_MD | {"label": "tensor (mm²/s)"},
    ),
    PredictedMap(
        "direction", "dwi", description="Principal direction of the tensor from bSSFP in world axes.",
        entities=_entities("network", "direction"), role="data", **_FA | {"label": "direction"},
    ),
)  # fmt: skip

LIMITS = (
    "Trained on simulated scans alone (digital heads whose anatomy is one template, deformed): not validated in vivo.",
    "The simulated signal knows a fibre only by its angle to B0, and weakly; most of a predicted direction is the mean "
    "of the training heads, laid over by registration of the T1w image: a patient need not share it. The validation "
    "table has the template predictor beside every number.",
    "Twelve phase cycles, timing and diffusion grid as in its settings; others are refused.",
    "Lesions, haemorrhage and iron are not among the training subjects. Not for diagnosis, not for surgical planning.",
)


class BssfpDti:
    """See :class:`scan2map.training.system.System`."""

    description = Description(
        title="Diffusion tensor from bSSFP",
        cohort="phantom",
        modalities=("dwi", "bssfp"),
        roles=("bssfp_mag", "bssfp_phase"),
        inputs={
            "magnitude": _bssfp("mag"),
            "phase": _bssfp("phase"),
            "t1w": RailFile("dwi", "T1w", entities={"space": "dwi", "desc": "preproc"}),
            "mask": RailFile("dwi", "mask", entities={"desc": "brain"}),
            "tensor": RailFile("dwi", "dwimap", entities=_entities("DTI", "tensor")),
            "dwi_to_t1w": RailFile("dwi", "xfm", ".mat", entities=_transform("dwi")),
            "template": RailFile("anat", "xfm", entities=_transform("MNI152")),
        },
        maps=MAPS,
        intended_use=(
            "Research: what phase-cycled bSSFP tells about the diffusion tensor, beside the tensor that the session's "
            "diffusion scan measured."
        ),
        limits=LIMITS,
    )

    def build_dataset(self, subject, sources, settings, output):
        """All bSSFP and diffusion sessions of one digital head."""
        from scan2map.systems.bssfp_dti.cohort import simulate_cohort_subject
        from scan2map.training.dataset import save_subject

        arrays, facts = simulate_cohort_subject(subject, settings)
        save_subject(output, arrays, **facts)

    def normalisation(self, train, settings):
        """Ranges of the channels and of the tensor elements, and the mean brain."""
        from scan2map.systems.bssfp_dti.data import normalisation

        return normalisation(train, settings)

    def training_set(self, train, settings, seed):
        """Patches: sessions, place, turn and disturbance by the sample's number."""
        from scan2map.systems.bssfp_dti.data import patches
        from scan2map.training.stream import Samples

        return Samples(patches(train, settings, augment=True), seed)

    def validation_set(self, validation, settings, seed):
        """Fixed patches without disturbance."""
        from scan2map.systems.bssfp_dti.data import patches
        from scan2map.systems.bssfp_dti.patches import FixedPatches

        return FixedPatches(patches(validation, settings, augment=False), settings["patches"]["validation"])

    def network(self, settings, normalisation):
        """The generator of the settings' design."""
        from scan2map.systems.bssfp_dti.designs import make_network

        return make_network(settings, normalisation)

    def module(self, settings, normalisation, training):
        """Adversarial training in stages."""
        from scan2map.systems.bssfp_dti.training import TranslationModule

        return TranslationModule(self.network(settings, normalisation), training, settings, normalisation)

    def acquisition(self, settings):
        """Phase cycles, timing and resolution."""
        from scan2map.systems.bssfp_dti.session import demands

        return demands(settings)

    def read_acquisition(self, inputs):
        """The same of a session, from its sidecars."""
        from scan2map.systems.bssfp_dti.session import read_acquisition

        return read_acquisition(inputs)

    def predict(self, package, inputs, device):
        """Maps of one session, the measured tensor's beside them."""
        from scan2map.systems.bssfp_dti.session import predict_session

        return predict_session(package, inputs, device)

    def evaluate(self, package, test, settings, device):
        """The validation protocol."""
        from scan2map.systems.bssfp_dti.evaluate import evaluate_package

        return evaluate_package(package, test, settings, device)


SYSTEM = BssfpDti()
