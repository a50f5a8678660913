"""Signed pointers (optional, extra `sign`): a consumer that holds the public key follows nobody else.

The signature is over the small pointer only: it names its manifest by sha256, and the manifest names every file. It
binds the pointer's scope, so that the pointer of another resource or channel cannot take its place, and its expiry, so
that somebody who holds back newer pointers is noticed (TUF's timestamp role). The private key need not be where the
pipeline runs: `funnelgate release sign` signs what was published elsewhere. Keys are PEM files, never settings.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.release.numbered import M, Pointer, Series
from reporting.errors import ConfigError, ContractViolation, StoreError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_DOMAIN = b"funnelgate pointer 1\n"


@dataclass(frozen=True)
class Signer:
    """Signs pointers at a given moment.

    Attributes:
        key_file: Private key, PEM.
        at: Now, aware.
        valid: How long consumers may follow the pointer; None: for ever.
    """

    key_file: Path
    at: datetime
    valid: timedelta | None = None

    def sign(self, pointer: Pointer, scope: str) -> Pointer:
        """Return the pointer with its signature.

        Raises:
            ConfigError: The key file is not there or holds no Ed25519 private key, or the extra `sign` is missing.
        """
        until = None if self.valid is None else self.at + self.valid
        bare = pointer.model_copy(update={"at": self.at, "expires_at": until, "signature": None})
        return bare.model_copy(update={"signature": private_key(self.key_file).sign(_signed(bare, scope)).hex()})


def require_signature(pointer: Pointer, scope: str, key_file: Path, now: datetime, where: str) -> None:
    """Make sure that a pointer was signed for this scope with the key's other half, and has not expired.

    Raises:
        ContractViolation: It is not signed, signed by somebody else, for something else, changed since, or expired.
        ConfigError: The key file is not there or holds no Ed25519 public key, or the extra `sign` is missing.
    """
    from cryptography.exceptions import InvalidSignature

    key = public_key(key_file)
    if pointer.signature is None:
        raise ContractViolation(f"{where}: is not signed, expected a signature for {key_file}; sign it, or ask who did")
    try:
        key.verify(bytes.fromhex(pointer.signature), _signed(pointer, scope))
    except InvalidSignature as error:
        raise ContractViolation(
            f"{where}: its signature does not fit {key_file}: it is another's, for something else than {scope!r}, or"
            " the pointer was changed; what was pulled before goes on serving"
        ) from error
    if pointer.expires_at is not None and pointer.expires_at <= now:
        raise ContractViolation(
            f"{where}: expired at {pointer.expires_at:%Y-%m-%d %H:%M:%S} UTC: newer ones may be held back; sign it anew"
            " with `funnelgate release sign`"
        )


def sign_current(series: Series[M], pointer: str, signer: Signer) -> int:
    """Sign what a pointer names, anew where it is signed already; return its number.

    Raises:
        UsageError: The pointer was never set.
        StoreError: It is damaged, or the disk refused.
        ConfigError: As `Signer.sign`.
    """
    try:
        with series.publishing():
            found = series.pointer(pointer)
            if found is None:
                raise UsageError(f"{series.root / pointer}: names nothing yet; there is nothing to sign")
            return series.point(pointer, found.number, signer).number
    except OSError as error:
        raise StoreError(f"{series.root / pointer}: was not signed: {error}; mend the disk and sign again") from error


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Write a new pair of keys; return the files of the private (mode 0600) and the public one.

    Raises:
        ConfigError: A file is there already, or the extra `sign` is missing.
        StoreError: The disk refused.
    """
    serialization, ed25519 = _cryptography()
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / "release-key.pem", folder / "release-key.pub.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data, mode in ((private, secret, 0o600), (public, known, 0o644)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                stream.write(data)
    except FileExistsError as error:
        raise ConfigError(
            f"{error.filename}: is there already; a key is never overwritten: name another folder"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder}: the keys were not written: {error}") from error
    return private, public


def private_key(path: Path) -> Ed25519PrivateKey:
    """Open a private key; errors as `Signer.sign`."""
    serialization, ed25519 = _cryptography()
    load = partial(serialization.load_pem_private_key, password=None)
    return cast("Ed25519PrivateKey", _opened(path, ed25519.Ed25519PrivateKey, load))


def public_key(path: Path) -> Ed25519PublicKey:
    """Open a public key; errors as `require_signature`."""
    serialization, ed25519 = _cryptography()
    return cast("Ed25519PublicKey", _opened(path, ed25519.Ed25519PublicKey, serialization.load_pem_public_key))


def _opened(path: Path, kind: Any, load: Any) -> Any:
    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; expected a key file in PEM") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: holds no {kind.__name__} in PEM without a password") from error
    if not isinstance(key, kind):
        raise ConfigError(f"{path}: holds a {type(key).__name__}, expected an {kind.__name__}")
    return key


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError("signing needs the extra `sign`: pip install 'funnelgate[sign]'") from error
    return serialization, ed25519


def _signed(pointer: Pointer, scope: str) -> bytes:
    """Return what a signature is over: scope, number, sha256, times, in one canonical form."""
    facts = {
        "scope": scope,
        "number": pointer.number,
        "sha256": pointer.sha256,
        "at": None if pointer.at is None else pointer.at.isoformat(),
        "expires_at": None if pointer.expires_at is None else pointer.expires_at.isoformat(),
    }
    return _DOMAIN + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
