"""``manifest.json`` of an exported network: what it is, how pictures become its input, and its files' digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from ..data.pictures import NetworkInput
from ..errors import GluonAFFError, UsageError
from ..utils.files import json_text, sha256_of

NAME = "manifest.json"
FORMAT = 1
KINDS = ("symbol", "onnx", "int8")
_LARGEST = 16 << 20  # bytes; a thousand class names are a tenth of a megabyte

Manifest = Dict[str, Any]


def is_exported(path: Path) -> bool:
    """Whether a path is the folder of an exported network."""
    return (path / NAME).is_file()


def write_manifest(directory: Path, manifest: Manifest, files: List[str]) -> None:
    """Write the manifest of ``files``, which are in ``directory`` already, with their sizes and SHA-256."""
    described = {
        name: {"bytes": (directory / name).stat().st_size, "sha256": sha256_of(directory / name)} for name in files
    }
    (directory / NAME).write_text(json_text({"format": FORMAT, **manifest, "files": described}), encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an exported network, its entries and the digests of all files checked.

    Raises
    ------
    UsageError
        When the folder is none of an exported network.
    GluonAFFError
        For a manifest that is damaged or of another format, and for files that are missing or have changed.
    """
    path = directory / NAME
    if not path.is_file():
        raise UsageError(f"{directory} is not an exported network: it has no {NAME}")
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {_LARGEST:,}")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(path, str(error)) from None
    if not isinstance(document, dict):
        raise _wrong(path, "it holds no entries")
    if document.get("format") != FORMAT:
        raise GluonAFFError(
            f"{path} is of format {document.get('format')!r}, this version reads {FORMAT}: export the network again"
        )
    problem = _problem(document)
    if problem:
        raise _wrong(path, problem)
    _check_files(directory, document["files"])
    return document


def input_of(manifest: Mapping[str, Any], where: Path) -> Optional[NetworkInput]:
    """How a picture becomes the network's input; None where the manifest does not say. Raises GluonAFFError."""
    if manifest["preprocessing"] is None:
        return None
    try:
        return NetworkInput.from_json(manifest["preprocessing"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise _wrong(where / NAME, f"its preprocessing cannot be understood: {error!r}") from None


def _problem(document: Manifest) -> Optional[str]:
    """What is wrong with the entries that are read; None when nothing is."""
    if document.get("kind") not in KINDS:
        return f"its kind is {document.get('kind')!r}, expected one of {', '.join(KINDS)}"
    if not isinstance(document.get("name"), str):
        return "it has no name"
    if not isinstance(document.get("segments"), bool) or not isinstance(document.get("outputs"), int):
        return "it does not say what the outputs are"
    shape = document.get("input", {}).get("shape") if isinstance(document.get("input"), dict) else None
    if not isinstance(shape, list) or len(shape) != 4 or not all(_is_length(each) for each in shape):
        return f"its input's shape is {shape!r}, expected four numbers or names"
    if document["input"].get("type") not in ("float32", "uint8"):
        return f"its input's type is {document['input'].get('type')!r}, expected float32 or uint8"
    if not (document.get("preprocessing") is None or isinstance(document["preprocessing"], dict)):
        return "its preprocessing is none"
    files = document.get("files")
    if not isinstance(files, dict) or not files:
        return "it lists no files"
    for name, file in files.items():
        if name != Path(name).name or name.startswith(".") or not isinstance(file, dict):
            return f"it lists a file {name!r}, expected names of files beside it"
    return None


def _is_length(value: object) -> bool:
    if isinstance(value, str):
        return value.isidentifier()
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 16


def _check_files(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        path = directory / name
        try:
            if not path.is_file():
                raise GluonAFFError(f"{directory} has no {name}, which its {NAME} lists: copy or export it again")
            size, found = path.stat().st_size, sha256_of(path)
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
        if found != expected.get("sha256"):
            raise GluonAFFError(
                f"{path} ({size:,} bytes) is not what {NAME} lists ({expected.get('bytes')} bytes): its SHA-256 is "
                f"{found[:12]}..., expected {str(expected.get('sha256'))[:12]}...; copy or export it again"
            )


def _wrong(path: Path, problem: str) -> GluonAFFError:
    return GluonAFFError(f"{path} is no manifest of an exported network ({problem}): copy or export it again")
