"""A certificate for 127.0.0.1 that signs itself, for the tests of https."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Writes cert.pem and key.pem and returns their paths."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.add_extension(address, False).sign(key, hashes.SHA256())
    pem, kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "key.pem").write_bytes(key.private_bytes(pem, kinds, serialization.NoEncryption()))
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return directory / "cert.pem", directory / "key.pem"
