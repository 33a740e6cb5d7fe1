"""Names of the fusion strategies: the field's, and the keys of the authors' command lines.

The one table of the authors' keys. Whatever accepts a fusion's name from a user passes it through
``canonical_fusion`` (which strategy is meant) or hands it to ``create_fusion`` (whose arithmetic is meant).
"""

from __future__ import annotations

from typing import Dict, Iterable, Optional

#: Authors' key -> field's name. With the endings of their class names, "Fuse" or "ChaFuse", it is accepted as well.
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
    # of their next paper, "Asymmetric Contextual Modulation"
    "AsymBi": "acm",
    "BiGlobal": "acm_global",
    "BiLocal": "acm_local",
    "TopDownGlobal": "gau",
    "TopDownLocal": "gau_local",
}

#: Authors' key -> the bottleneck ratio it always has in their code, whatever r is; None for no bottleneck.
AUTHORS_RATIOS: Dict[str, Optional[int]] = {"AYforXplusY": None, "XplusAYforY": None, "AXYforXplusY": None, "SKFuse": 4}

#: Whose arithmetic is that of their key, so that the field's name may stand for it.
SAME_AS_KEY = (
    *("add", "aff", "aff_global_global", "aff_local_local", "iaff"),
    *("acm", "acm_global", "acm_local", "gau_local"),
)

_ENDINGS = ("", "Fuse", "ChaFuse")


def spelled(name: str, fields: Iterable[str]) -> str:
    """``name`` as it is spelled among the field's names in ``fields`` or the authors' keys, in whatever case it is.

    A name that is right as it stands wins, then one of the field's; an unknown name is handed back.
    """
    if name in fields or authors_key(name):
        return name
    for known in (*fields, *(key + ending for ending in _ENDINGS for key in AUTHORS_KEYS)):
        if known.casefold() == name.casefold():
            return known
    return name


def authors_key(name: str) -> str:
    """The authors' key that ``name`` is, without the optional ending of a class name, or "" when it is none."""
    return next((key for key in AUTHORS_KEYS for ending in _ENDINGS if name == key + ending), "")


def key_of(fusion: str) -> str:
    """Return the authors' first key for a field's name; the name itself where they have none."""
    return next((key for key, name in AUTHORS_KEYS.items() if name == fusion), fusion)
