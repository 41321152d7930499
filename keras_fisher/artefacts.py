"""Stored artefacts: where they live, how they are written, and what vouches for them.

An artefact is a file next to a manifest, a JSON file that says which command made it, from which seed
and with which versions, and holds the SHA-256 of its bytes.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keras_fisher.checks import message, suggests_keywords

__all__ = [
    "check_manifest",
    "put_in_place",
    "saved_model_path",
    "sha256",
    "temporary_sibling",
    "versions",
    "write_atomically",
    "write_manifest",
]

_PACKAGE = pathlib.Path(__file__).resolve().parent
_DISTRIBUTIONS = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "keras-fisher")


@suggests_keywords
def saved_model_path(name: str) -> pathlib.Path:
    """Returns the folder `saved_models/<name>`, of the installed package or else of the checkout.

    Args:
        name: the name of the folder, such as `"lenet5_mnist"`.

    Raises:
        TypeError: `name` is no string.
        ValueError: `name` is not the name of one folder.
        FileNotFoundError: neither the package nor the checkout has it.
    """
    if not isinstance(name, str):
        raise TypeError(message("name", "be a string", repr(name), 'For example "lenet5_mnist".'))
    if name != pathlib.PurePath(name).name or name in ("", ".."):
        raise ValueError(
            message("name", "name one folder of saved_models/", repr(name), "Leave out the path.")
        )
    for root in (_PACKAGE, _PACKAGE.parent):
        folder = root / "saved_models" / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        message(
            "name",
            "be a saved model of the package or of its checkout",
            repr(name),
            f"There is no saved_models/{name}. The README names the script in scripts/ that writes it, "
            "or reinstall keras-fisher.",
        )
    )


@suggests_keywords
def sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@suggests_keywords
def write_atomically(path: str | os.PathLike, write: Callable[[pathlib.Path], Any]) -> pathlib.Path:
    """Returns `path` once `write` has written that file whole; a failure leaves what was there before.

    `write` is given a temporary path in the same folder, whose name ends like `path` (writers choose
    their format by the suffix). The folder is made if it is missing.

    Args:
        path: the file to write or to replace.
        write: a function of one path, which writes a file there.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
@suggests_keywords
def temporary_sibling(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new hidden name beside `folder`, and removes what is there in the end."""
    temporary = folder.with_name(f".{secrets.token_hex(8)}.{folder.name}")
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@suggests_keywords
def put_in_place(temporary: pathlib.Path, folder: pathlib.Path) -> None:
    """Renames `temporary` to `folder`; what was there is removed only once that is done."""
    if not folder.exists():
        temporary.rename(folder)
        return
    with temporary_sibling(folder) as retired:
        folder.rename(retired)
        try:
            temporary.rename(folder)
        except OSError:
            retired.rename(folder)
            raise


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the distributions that a result depends on.

    A distribution that is not installed under its own name has the version "unknown".
    """
    found = {"python": platform.python_version()}
    for distribution in _DISTRIBUTIONS:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[distribution] = "unknown"
    return found


@suggests_keywords
def write_manifest(
    path: str | os.PathLike,
    command: str,
    seed: int | None,
    files: Iterable[str | os.PathLike],
    metrics: Mapping[str, Any],
    **details: Any,
) -> dict[str, Any]:
    """Returns the manifest that it writes to `path` as JSON, atomically.

    Args:
        path: the manifest's own file. The files that it vouches for lie in the same folder or below.
        command: the command line that made the files. Of an absolute path only the last part is kept,
            because a manifest names no machine's folders.
        seed: the seed, or None where nothing was drawn.
        files: the files to vouch for.
        metrics: name to number, as measured on these files.
        **details: further entries, anything that JSON can hold; NumPy numbers become plain ones.

    Raises:
        ValueError: a file is outside the manifest's folder, an entry of `details` has the name of one
            that the manifest writes itself, or a number is NaN or infinite.
        FileNotFoundError: a file does not exist.
    """
    path = pathlib.Path(path)
    manifest = {
        "command": re.sub(r"(^|[\s='\"])/(?:[^\s'\"/]+/)*(?=[^\s'\"/])", r"\1", command),
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "files": {_name_in(path.parent, file): _fingerprint(pathlib.Path(file)) for file in files},
        "metrics": dict(metrics),
    }
    for name in manifest.keys() & details.keys():
        raise ValueError(message("details", "not replace an entry of the manifest", repr(name), "Rename it."))
    text = json.dumps(manifest | details, indent=2, default=_plain, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return json.loads(text)


@suggests_keywords
def check_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the manifest at `path` after comparing every file that it vouches for.

    Raises:
        FileNotFoundError: the manifest, or a file that it names, does not exist.
        ValueError: a file's SHA-256 is not the one in the manifest.
    """
    path = pathlib.Path(path)
    remedy = "Restore it from version control or reinstall keras-fisher"
    if not path.is_file():
        raise FileNotFoundError(message("path", "be a manifest", repr(str(path)), f"{remedy}."))
    manifest = json.loads(path.read_text(encoding="utf-8"))
    remedy += f", or make it again: {manifest['command']}"
    for name, expected in manifest["files"].items():
        file = path.parent / name
        if not file.is_file():
            raise FileNotFoundError(message("path", f"lie beside its file {name!r}", "no such file", remedy))
        found = sha256(file)
        if found != expected["sha256"]:
            rule = f"vouch for {name!r} with SHA-256 {expected['sha256']}"
            raise ValueError(message("path", rule, f"{found}: the file was changed", remedy))
    return manifest


def _name_in(folder: pathlib.Path, file: str | os.PathLike) -> str:
    """Returns the path of `file` relative to `folder`, with forward slashes."""
    try:
        return pathlib.Path(file).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        remedy = "Write the manifest next to the files."
        raise ValueError(message("files", "lie in the manifest's folder", repr(str(file)), remedy)) from None


def _fingerprint(file: pathlib.Path) -> dict[str, Any]:
    return {"sha256": sha256(file), "bytes": file.stat().st_size}


def _plain(value: Any) -> Any:
    """Returns a NumPy scalar or array as plain Python, for `json`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(message("details", "hold values that JSON has", repr(value), "Convert it first."))


def __dir__() -> list[str]:
    return __all__
