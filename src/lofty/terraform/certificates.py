"""Both ends of the way to terraform show a certificate, made for this one run: nobody else on this computer can speak
to the provider, or in its place."""

from __future__ import annotations

import base64
import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LIFE = datetime.timedelta(days=30)


def mutual(client: str, folder: Path) -> tuple[ssl.SSLContext, str]:
    """What the server speaks TLS with, and its own certificate as the handshake line carries it (DER in base64 without
    padding). Only a client that shows `client`, in PEM, gets through. The key passes through `folder`, since OpenSSL
    takes one only from a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    own = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client)
    context.set_alpn_protocols(["h2"])
    both = folder / "key"
    both.touch(mode=0o600)
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + own.public_bytes(serialization.Encoding.PEM)
    )
    context.load_cert_chain(both)
    both.unlink()
    return context, base64.b64encode(own.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
