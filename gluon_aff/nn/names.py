"""Names of the fusion strategies: the field's, and the keys of the authors' command lines.

The one table of the authors' keys. Whatever accepts a fusion's name from a user passes it through
``canonical_fusion`` (which strategy is meant) or hands it to ``create_fusion`` (whose arithmetic is meant).
"""

from __future__ import annotations

from typing import Dict, Iterable, Optional

#: Authors' key -> field's name. A trailing "Fuse" (their class names) is accepted as well.
AUTHORS_KEYS: Dict[str, str] = {
    "DirectAdd": "add",
    "Concat": "concat",
    "AYforXplusY": "ms_gau",
    "XplusAYforY": "ms_se",
    "AXYforXplusY": "ms_sa",
    "ASKCFuse": "aff",
    "ResGlobGlobCha": "aff_global_global",
    "ResLocaLocaCha": "aff_local_local",
    "ResLocalLocaCha": "aff_local_local",
    "ResGlobLocaforGlobLocaCha": "iaff",
    "SEFuse": "se",
    "GAUFuse": "gau",
    "SKFuse": "sk",
}

#: Authors' key -> the bottleneck ratio it always has in their code, whatever r is; None for no bottleneck.
AUTHORS_RATIOS: Dict[str, Optional[int]] = {"AYforXplusY": None, "XplusAYforY": None, "AXYforXplusY": None, "SKFuse": 4}

#: Whose arithmetic is that of their key, so that the field's name may stand for it.
SAME_AS_KEY = ("add", "aff", "aff_global_global", "aff_local_local", "iaff")


def spelled(name: str, fields: Iterable[str]) -> str:
    """``name`` as it is spelled among the field's names in ``fields`` or the authors' keys, in whatever case it is.

    A name that is right as it stands wins, then one of the field's; an unknown name is handed back.
    """
    if name in fields or authors_key(name):
        return name
    for known in (*fields, *AUTHORS_KEYS, *(f"{key}Fuse" for key in AUTHORS_KEYS)):
        if known.casefold() == name.casefold():
            return known
    return name


def authors_key(name: str) -> str:
    """The authors' key that ``name`` is, without their optional "Fuse" ending, or "" when it is none."""
    if name in AUTHORS_KEYS:
        return name
    stem = name[:-4] if name.endswith("Fuse") else name
    return stem if stem in AUTHORS_KEYS else ""


def key_of(fusion: str) -> str:
    """Return the authors' first key for a field's name; the name itself where they have none."""
    return next((key for key, name in AUTHORS_KEYS.items() if name == fusion), fusion)
