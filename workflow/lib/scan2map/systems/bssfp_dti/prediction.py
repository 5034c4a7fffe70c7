"""A trained network on one head: channels in, tensors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from scan2map.systems.bssfp_dti.channels import TEMPLATE_SOURCES, points_of, scaled_image
from scan2map.systems.bssfp_dti.inference import in_windows
from scan2map.systems.bssfp_dti.place import place_channels
from scan2map.systems.bssfp_dti.representation import Representation


class Translator:
    """One member of a package, with what it needs to know.

    Args:
        network: the generator.
        settings: the system's settings.
        normalisation: constants of the training part.
        device: where it computes.
    """

    def __init__(self, network: torch.nn.Module, settings: Mapping[str, Any], normalisation: Mapping, device: str):
        self.network, self.settings, self.device = network, settings, device
        self.modality = settings["modality"]
        self.constants = normalisation["channels"]
        self.element_ranges = normalisation["elements"]["raw"]
        kind = settings["parametrisation"]
        self.representation = Representation(kind, normalisation["elements"][kind])

    def image(self, arrays: Mapping[str, np.ndarray], session: int) -> torch.Tensor:
        """Input channels (1, channels, x, y, z) of a head's session.

        Args:
            arrays: as in a data set file, as far as the modality needs them.
            session: number of the bSSFP (or, for the autoencoder, diffusion) session.
        """
        mask = torch.from_numpy((arrays["mask"] > 0).astype(np.float32))[None]
        placed = self.modality in TEMPLATE_SOURCES
        parts = [] if placed else [self._channels(arrays, session, mask)]
        if placed or self.network.prior is not None:
            size, brain = self.settings["data"]["voxel_size_mm"], arrays["mask"] > 0
            parts.append(place_channels(arrays[points_of(self.modality)], size, brain))
        return torch.cat(parts)[None]

    def _channels(self, arrays: Mapping[str, np.ndarray], session: int, mask: torch.Tensor) -> torch.Tensor:
        if self.modality == "dt":
            tensors = torch.from_numpy(arrays["tensor"][session].astype(np.float32))
            return self.representation.encode(tensors) * mask
        return scaled_image(arrays, session, self.modality, self.constants)

    @torch.inference_mode()
    def scaled(self, arrays: Mapping[str, np.ndarray], session: int) -> torch.Tensor:
        """The network's values (6, x, y, z)."""
        windows = self.settings["inference"]
        image = self.image(arrays, session).to(self.device)
        found = in_windows(
            lambda window: self.network(window, self.modality), image, windows["window_voxels"],
            windows["overlap_voxels"],
        )  # fmt: skip
        return found[0].float().cpu()

    @torch.inference_mode()
    def expected(self, arrays: Mapping[str, np.ndarray], session: int) -> torch.Tensor | None:
        """What the network's prior alone says (6, x, y, z), the mean of the training heads; ``None`` without one."""
        if self.network.prior is None:
            return None
        return self.network.expected(self.image(arrays, session).to(self.device), self.modality)[0].cpu()

    def tensors(self, scaled: Sequence[torch.Tensor], mask: np.ndarray) -> np.ndarray:
        """Tensors (6, x, y, z), 1e-3 mm²/s, 0 outside the brain, of the mean of the members' values."""
        mean = torch.stack(list(scaled)).mean(0)
        inside = torch.from_numpy(np.asarray(mask) > 0)
        tensors = torch.zeros_like(mean)
        tensors[:, inside] = self.representation.decode(mean[:, inside][..., None, None])[..., 0, 0]
        return tensors.numpy()
