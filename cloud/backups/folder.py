"""A backup on the disk: the dump, the keys, and a manifest with the hash of each.

Invariant: a folder without `.partial` in its name is complete and durable; all of it is its owner's alone.
Must not: hold a key that the state folder does not hold.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from cloud.errors import CloudError, Reason
from cloud.files import PRIVATE_FILE, PUBLIC_FILE, make_folder, write_file

DUMP: Final = "database.dump"
MANIFEST: Final = "backup.json"
KEPT: Final = ("ca", "keys", "operator.token")
"""Of the state folder: what the database alone cannot bring back."""
_PUBLIC: Final = "ca/ca.crt"
_FORMAT: Final = 1
_PARTIAL: Final = ".partial"
_CHUNK: Final = 1024 * 1024
_MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""About 100 bytes a key, six keys an institution, many years of them."""
_MAX_KEY_BYTES: Final = 1024 * 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds: `files` by their path in the folder, each with its SHA-256 in hexadecimal."""

    format: int
    id: str
    begun_at: datetime
    schema: int
    postgres: int
    files: dict[str, str]


def begin_folder(to: Path, name: str) -> Path:
    """Make an empty private folder in which a backup grows.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    make_folder(to)
    folder = to.absolute() / (name + _PARTIAL)
    make_folder(folder)
    return folder


def finish_folder(folder: Path, manifest: Manifest) -> Path:
    """Have everything on the disk, then give the folder its final name.

    Raises:
        CloudError: BACKUP_FAILED or STATE_UNUSABLE.
    """
    final = folder.with_name(folder.name.removesuffix(_PARTIAL))
    try:
        for path in [folder / name for name in manifest.files]:
            path.chmod(PRIVATE_FILE)
            _sync(path)
        write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                _sync(path)
        _sync(folder)
        folder.rename(final)
        _sync(final.parent)
    except OSError as error:
        raise CloudError(Reason.BACKUP_FAILED, f"{error.filename}: {error.strerror}.") from error
    return final


def copy_keys(state: Path, folder: Path) -> None:
    """Copy keys, certificates and the operator token from a state folder, or back into a new one.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    for source in _key_files(state):
        name = source.relative_to(state)
        for parent in reversed(name.parents[:-1]):
            make_folder(folder / parent)
        try:
            content = source.read_bytes()
        except FileNotFoundError:
            continue  # a root key may be taken away at any time
        except OSError as error:
            raise CloudError(Reason.STATE_UNUSABLE, f"Cannot read {source}: {error.strerror}.") from error
        write_file(folder / name, content, mode=PUBLIC_FILE if str(name) == _PUBLIC else PRIVATE_FILE)


def hashes(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of the dump and of every key."""
    paths = [folder / DUMP, *_key_files(folder)]
    return {str(path.relative_to(folder)): _sha256(path) for path in paths}


def read_backup(folder: Path) -> Manifest:
    """Read the manifest of a backup and check every file against it.

    Raises:
        CloudError: BACKUP_MISSING when the folder is none of a backup; BACKUP_DAMAGED, naming what does not fit.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise _damaged(path, "it is too large")
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        what = f"{folder} is no backup: it holds no {MANIFEST}."
        remedy = "Name the folder that `doorward cloud backup` printed."
        raise CloudError(Reason.BACKUP_MISSING, what, remedy=remedy) from error
    except (OSError, msgspec.DecodeError) as error:
        raise _damaged(path, str(error)) from error
    if manifest.format != _FORMAT:
        raise _damaged(path, f"it has format {manifest.format}, this program knows {_FORMAT}")
    _check(folder, manifest.files)
    return manifest


def remove(folder: Path) -> None:
    """Remove what was begun and not finished."""
    shutil.rmtree(folder, ignore_errors=True)


def _check(folder: Path, files: Mapping[str, str]) -> None:
    if DUMP not in files:
        raise _damaged(folder, f"its manifest names no {DUMP}")
    for name, expected in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.parts[0] not in {DUMP, *KEPT}:
            raise _damaged(folder / MANIFEST, f"it names {name!r}, which is no part of a backup")
        try:
            found = _sha256(folder / path)
        except OSError as error:
            raise _damaged(folder / path, str(error.strerror)) from error
        if found != expected:
            raise _damaged(folder / path, "it is not what was backed up")


def _key_files(folder: Path) -> Iterator[Path]:
    for name in KEPT:
        path = folder / name
        if path.is_dir():
            yield from (each for each in sorted(path.rglob("*")) if each.is_file() and _is_key(each))
        elif path.is_file():
            yield path


def _is_key(path: Path) -> bool:
    """Leave out what a write has under way (cloud/files.py names it with a dot), and what cannot be a key."""
    return not path.name.startswith(".") and path.stat().st_size <= _MAX_KEY_BYTES


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, why: str) -> CloudError:
    return CloudError(Reason.BACKUP_DAMAGED, f"{path} cannot be used: {why}.", remedy="Take another backup.")
