"""Signing documents: PAdES with the means that each clinician has.

``means`` says what the means are, ``certificates`` who a certificate is of and whether it may sign,
``pkcs12`` and ``pkcs11`` open a key, ``pades`` signs, ``keep`` stores. A way to the signer of a
region is one more module like ``pkcs12`` (:class:`~server.models.SignerKind`); none is there yet.
"""

from server.signing.certificates import CertificateFacts, describe_certificate
from server.signing.keep import (
    SignerFacts,
    describe_signer,
    find_signer,
    load_means,
    put_signer,
    remove_signer,
    sign_as,
)
from server.signing.means import (
    LONGEST_FILE_BYTES,
    Pkcs11Key,
    Pkcs12File,
    Refusal,
    SignerMeans,
    SigningRefused,
)
from server.signing.pades import inspect_means, sign_pdf

__all__ = [
    "LONGEST_FILE_BYTES",
    "CertificateFacts",
    "Pkcs11Key",
    "Pkcs12File",
    "Refusal",
    "SignerFacts",
    "SignerMeans",
    "SigningRefused",
    "describe_certificate",
    "describe_signer",
    "find_signer",
    "inspect_means",
    "load_means",
    "put_signer",
    "remove_signer",
    "sign_as",
    "sign_pdf",
]
