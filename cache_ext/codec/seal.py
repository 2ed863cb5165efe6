"""Authenticated encryption of what must not be read or forged in Redis, with key rotation."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cache_ext.errors import ConfigurationError, PayloadError

_KEY_ID_BYTES = 4
_NONCE_BYTES = 12


class KeyRing:
    """Seals with the newest secret, opens with any of them.

    A sealed text is key id (4 bytes), nonce (12 bytes), AES-256-GCM ciphertext with tag. It opens only
    beside the very data it was sealed beside, and only for the same purpose.

    Args:
        secret_keys: newest first; each is hashed, with *purpose*, to a key of 256 bits.
        purpose: what the ring is for, say a namespace.
    Source: NIST SP 800-38D; a nonce is random, which bounds one key to 2^32 seals.
    """

    def __init__(self, secret_keys: Sequence[str], purpose: str = "") -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        for secret in secret_keys:
            salted = f"{purpose}\0{secret}".encode()
            key = hashlib.blake2b(salted, digest_size=32, person=b"cache_ext seal").digest()
            key_id = hashlib.blake2b(key, digest_size=_KEY_ID_BYTES, person=b"cache_ext id").digest()
            self._ciphers[key_id] = AESGCM(key)

    def seal(self, text: bytes, beside: bytes) -> bytes:
        """Return *text* encrypted, to be opened *beside* just these data.

        Raises:
            ConfigurationError: there is no secret key.
        """
        if not self._ciphers:
            raise ConfigurationError("a sensitive value needs secret_keys")
        key_id, cipher = next(iter(self._ciphers.items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return key_id + nonce + cipher.encrypt(nonce, text, beside)

    def open(self, sealed: bytes, beside: bytes) -> bytes:
        """Return the text that was sealed *beside* these data.

        Raises:
            PayloadError: unknown key, forged, cut, or sealed beside other data.
        """
        cipher = self._ciphers.get(sealed[:_KEY_ID_BYTES])
        if cipher is None:
            raise PayloadError("sealed with a key that is not in the ring")
        nonce, text = sealed[_KEY_ID_BYTES:][:_NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, beside)
        except (InvalidTag, ValueError) as error:
            raise PayloadError("the seal does not fit") from error
