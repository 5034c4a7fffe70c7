"""File names: the one place that spells BIDS entities."""

from __future__ import annotations

# Order of the entities in a BIDS file name (BIDS 1.10, appendix "Entity table").
ENTITY_ORDER = (
    "sub", "ses", "sample", "task", "acq", "ce", "dir", "rec", "run", "echo", "flip", "inv", "part", "from", "to",
    "mode", "space", "res", "model", "seg", "label", "param", "desc",
)  # fmt: skip


def bids_path(datatype: str, suffix: str, extension: str = ".nii.gz", **entities: str) -> str:
    """A BIDS path relative to the dataset; entity values may be Snakemake wildcards such as ``{subject}``.

    Args:
        datatype: folder (``anat``, ``dwi``, ``perf``, ``fmap``, ...).
        suffix: last part of the name (``T1w``, ``dwimap``, ...).
        extension: with the leading dot.
        entities: short names, in any order; ``from_`` stands for ``from``.

    Raises:
        ValueError: an entity is not a BIDS entity, or ``sub`` is missing.
    """
    entities = {name.rstrip("_"): value for name, value in entities.items() if value}
    unknown = set(entities) - set(ENTITY_ORDER)
    if unknown or "sub" not in entities:
        raise ValueError(f"not a BIDS name: unknown entities {sorted(unknown)}, sub given: {'sub' in entities}")
    name = "_".join(f"{key}-{entities[key]}" for key in ENTITY_ORDER if key in entities)
    folder = f"sub-{entities['sub']}" + (f"/ses-{entities['ses']}" if "ses" in entities else "")
    return f"{folder}/{datatype}/{name}_{suffix}{extension}"


def parse_name(name: str) -> tuple[dict[str, str], str, str]:
    """The parts of a BIDS file name: entities, suffix, extension (with the leading dot).

    Raises:
        ValueError: a part before the suffix is not ``entity-value``.
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    if not all("-" in pair for pair in pairs):
        raise ValueError(f"not a BIDS name: {name}")
    return dict(pair.split("-", 1) for pair in pairs), suffix, dot + extension
