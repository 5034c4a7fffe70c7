"""Pictures as bytes inside a page: the same pixels give the same bytes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np

JPEG_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """One picture of a figure.

    Attributes:
        label: what this picture shows among the figure's pictures; empty if it is the only one.
        alt: description for readers who do not see it.
        content: encoded bytes.
        media_type: ``image/png`` or ``image/jpeg``.
        width, height: pixels.
        group: pictures of one group are compared with each other by flicker.
    """

    label: str
    alt: str
    content: bytes
    media_type: str
    width: int
    height: int
    group: str = ""

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def encode(pixels: np.ndarray, *, photo: bool = False) -> tuple[bytes, str]:
    """Encode 8-bit pixels, grey (height, width) or RGB (height, width, 3); JPEG for photos, PNG otherwise.

    Neither format carries a date or a program name here.
    """
    from PIL import Image as Pillow

    buffer = BytesIO()
    image = Pillow.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    if photo:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True, subsampling=0)
        return buffer.getvalue(), "image/jpeg"
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), "image/png"


def picture_of(figure, *, label: str = "", alt: str, photo: bool = False, group: str = "") -> Picture:
    """Render a matplotlib figure and close it."""
    import matplotlib.pyplot as plt

    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    content, media_type = encode(pixels, photo=photo)
    return Picture(label, alt, content, media_type, pixels.shape[1], pixels.shape[0], group)
