"""Certificates for TLS on loopback: an authority and what it has signed, made anew for whoever asks."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Certificates:
    """An authority of its own, and one certificate by it for 127.0.0.1 and localhost, as files.

    Args:
        folder: where the files are kept; it is not removed.
    """

    def __init__(self, folder: Path) -> None:
        self.authority, self.certificate, self.key = (
            folder / name for name in ("ca.pem", "server.pem", "server-key.pem")
        )
        signer, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _begun("shivx-test-authority", "shivx-test-authority", signer.public_key())
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        leaf = _begun("localhost", "shivx-test-authority", own.public_key())
        leaf = leaf.add_extension(x509.SubjectAlternativeName(places), critical=False)
        for file, made in ((self.authority, root), (self.certificate, leaf)):
            signed = made.sign(signer, hashes.SHA256())
            file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    @property
    def options(self) -> list[str]:
        """What a Redis is told on its command line; it asks no client for a certificate."""
        files = {"cert": self.certificate, "key": self.key, "ca-cert": self.authority}
        named = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(file))]
        return [*named, "--tls-auth-clients", "no", "--tls-replication", "yes"]


def _begun(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    subject_name, issuer_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)
    )
    builder = x509.CertificateBuilder().subject_name(subject_name).issuer_name(issuer_name).public_key(key)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
