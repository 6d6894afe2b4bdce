"""PAdES baseline signatures (ETSI EN 319 142-1): B-B, or B-T where a time stamp authority is set.

The signature is an incremental update with an invisible field, so that PDF/A-3b holds: nothing of
the document before it changes. Keys and tokens block, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import aiohttp
from cryptography import x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, Signer
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from pyhanko.sign.timestamps import HTTPTimeStamper, TimestampRequestError

from server.signing.certificates import (
    CertificateFacts,
    check_certificate,
    describe_certificate,
)
from server.signing.means import Pkcs12File, Refusal, SignerMeans, SigningRefused
from server.signing.pkcs11 import open_pkcs11
from server.signing.pkcs12 import open_pkcs12

_FIELD: Final = "Firma1"
_FIELD_NAME: Final = "Firma digitale del medico"
_DIGEST: Final = "sha256"
_STAMP_SECONDS: Final = 5


async def sign_pdf(
    pdf: bytes, means: SignerMeans, pin: str, now: datetime, *, tsa_url: str = ""
) -> bytes:
    """The signed document: ``pdf`` and, behind it, the signature.

    :raises SigningRefused: nothing was signed.
    """
    return await asyncio.to_thread(_sign, pdf, means, pin, now, tsa_url)


async def inspect_means(means: SignerMeans, pin: str, now: datetime) -> CertificateFacts:
    """Open the means once without signing: whose certificate is it?

    :raises SigningRefused: they could not sign now.
    """
    return await asyncio.to_thread(_inspect, means, pin, now)


def _inspect(means: SignerMeans, pin: str, now: datetime) -> CertificateFacts:
    with _open(means, pin) as (_, certificate):
        check_certificate(certificate, means.codice_fiscale, now)
        return describe_certificate(certificate)


def _sign(pdf: bytes, means: SignerMeans, pin: str, now: datetime, tsa_url: str) -> bytes:
    with _open(means, pin) as (signer, certificate):
        check_certificate(certificate, means.codice_fiscale, now)
        return asyncio.run(_add_signature(pdf, signer, certificate, now, tsa_url))


@contextmanager
def _open(means: SignerMeans, pin: str) -> Iterator[tuple[Signer, x509.Certificate]]:
    if isinstance(means.key, Pkcs12File):
        yield open_pkcs12(means.key, pin)
    else:
        with open_pkcs11(means.key, pin) as opened:
            yield opened


class _SignatureOnly(IncrementalPdfFileWriter):
    """Leaves the metadata alone: pyhanko would write them anew, in a form that is no PDF/A."""

    def _update_meta(self) -> None:
        return None


class _TimedSigner(PdfSigner):
    """Writes the moment that the document itself says, not the clock of another second."""

    def __init__(
        self, meta: PdfSignatureMetadata, signer: Signer, now: datetime, tsa_url: str
    ) -> None:
        stamper = HTTPTimeStamper(tsa_url, timeout=_STAMP_SECONDS) if tsa_url else None
        field = SigFieldSpec(_FIELD, readable_field_name=_FIELD_NAME)
        super().__init__(meta, signer, timestamper=stamper, new_field_spec=field)
        self._now = now

    def init_signing_session(
        self, pdf_out: BasePdfFileWriter, existing_fields_only: bool = False
    ) -> PdfSigningSession:
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self._now
        return session


async def _add_signature(
    pdf: bytes, signer: Signer, certificate: x509.Certificate, now: datetime, tsa_url: str
) -> bytes:
    meta = PdfSignatureMetadata(
        field_name=_FIELD,
        md_algorithm=_DIGEST,
        subfilter=SigSeedSubFilter.PADES,
        name=describe_certificate(certificate).subject,
    )
    written = io.BytesIO()
    try:
        await _TimedSigner(meta, signer, now, tsa_url).async_sign_pdf(
            _SignatureOnly(io.BytesIO(pdf)), output=written
        )
    except (TimestampRequestError, aiohttp.ClientError, TimeoutError) as error:
        raise SigningRefused(Refusal.UNREACHABLE) from error
    return written.getvalue()
