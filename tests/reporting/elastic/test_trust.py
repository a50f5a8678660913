"""The attack that the client library's own check of a fingerprint lets through."""

from __future__ import annotations

import datetime
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reporting.errors import ConfigError
from reporting.settings import ElasticSettings
from tests.reporting.elastic.refusing import SECRET, refusal


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def forged_chain(ca: trustme.CA, folder: Path) -> Path:
    """Write a server's certificate that claims to be signed by the CA (it is not), with the CA's own beside it."""
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    key, thief = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    leaf = builder.sign(thief, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    file = folder / "forged.pem"
    file.write_bytes(private + leaf + ca.cert_pem.bytes())
    return file


@pytest.mark.parametrize("pinned", [True, False])
def test_a_forged_certificate_beside_the_real_authority_s_is_refused_and_sees_no_key(
    ca: trustme.CA, tmp_path: Path, pinned: bool
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(forged_chain(ca, tmp_path))
    heard: list[str | None] = []

    class Thief(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers["authorization"])

        def log_message(self, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *arguments: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Thief)
    # Handshakes in the threads of the connections: the fingerprint is fetched on a second one while the first waits.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    pem = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(pem))
    authority = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).fingerprint(hashes.SHA256()).hex()
    trust: dict[str, Any] = {"ca_fingerprint": authority} if pinned else {"ca_certs": pem}
    url = f"https://localhost:{server.server_port}"
    try:
        error = refusal(ElasticSettings(url=url, api_key=SECRET, **trust))
    finally:
        server.shutdown()
        server.server_close()
    assert isinstance(error, ConfigError)
    assert "its certificate is not trusted" in str(error)
    assert heard == []
