"""A gateway of the national record on a real port: it believes nobody.

TLS with a client certificate, both JWTs checked (signature against ``x5c``, all claims, ``exp``,
``jti`` used once, hash of the file that came), ``cda.xml`` taken out of the PDF and judged, answers
of ``doc/integrazione-gateway`` (201/202, RFC 7807). It can be away, slow, busy, or lose an answer
after it has stored the document.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from lxml import etree
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader

from tests.certificates import Authority, Certificate
from tests.reports import FSE, open_validator

Json = dict[str, Any]
HL7 = {"c": "urn:hl7-org:v3"}
BASE = "/govway/rest/in/FSE/gateway/v1"
_CX = re.compile(r"[^\^&]+\^\^\^&2\.16(\.\d+)+&ISO")
_XON = re.compile(r"[^\^&]+\^{5}&2\.16(\.\d+)+&ISO\^{4}[^\^&]+")
_ALGORITHMS = ("RS256", "RS384", "RS512")
_REQUIRED = (
    "identificativoDoc", "identificativoRep", "identificativoSottomissione", "tipologiaStruttura",
    "tipoDocumentoLivAlto", "assettoOrganizzativo", "tipoAttivitaClinica", "workflowInstanceId",
)  # fmt: skip


class _Registry(JWSRegistry):
    """A certificate in the header needs more room than joserfc gives to others."""

    max_header_length = 8192


class Problem(Exception):
    """Ends a request as the real gateway does."""

    def __init__(self, status: int, type_: str, detail: str = "", **headers: str) -> None:
        super().__init__(f"{status} {type_} {detail}")
        self.status, self.type, self.detail, self.headers = status, type_, detail, headers

    def answer(self) -> web.Response:
        content = {
            "traceID": secrets.token_hex(8),
            "spanID": secrets.token_hex(8),
            "type": self.type,
            "title": f"Errore {self.type}",
            "detail": self.detail or f"Dettaglio di {self.type}",
            "status": self.status,
            "instance": "/validation/error",
        }
        return web.Response(
            text=json.dumps(content),
            status=self.status,
            content_type="application/problem+json",
            headers=self.headers,
        )


@dataclass
class Stored:
    """One document of the index."""

    pdf: bytes
    request: Json
    claims: Json
    is_replaced_by: str = ""


@dataclass
class FseGateway:
    """``judge`` gives what is wrong with a CDA; everything else can be changed at any time."""

    authority: Authority
    judge: Callable[[bytes], list[str]]
    clock: Callable[[], datetime]
    origin: str = ""
    is_down: bool = False
    seconds: float = 0
    loses_answers: int = 0
    """So many publications are stored, and then the line is cut."""
    stalls: str = ""
    """``before`` or ``after`` it stores a publication it falls silent."""
    is_stalled: asyncio.Event = field(default_factory=asyncio.Event)
    is_indexing: bool = True
    """Whether a publication is findable at once."""
    is_index_refusing: bool = False
    problems: list[Problem | None] = field(default_factory=list)
    """The next answers, one by one, in place of the usual ones; None lets one through."""
    warning: str = ""
    calls: list[str] = field(default_factory=list)
    documents: dict[str, Stored] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    validated: dict[str, str] = field(default_factory=dict)
    """By workflow instance: SHA-256 of the CDA."""
    events: dict[str, list[Json]] = field(default_factory=dict)
    seen_tokens: set[str] = field(default_factory=set)
    last_claims: Json = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.origin + BASE

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(
            f"{request.method} {unquote(request.rel_url.raw_path.removeprefix(BASE))}"
        )
        if self.is_down:
            return self._cut(request)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        try:
            problem = self.problems.pop(0) if self.problems else None
            if problem is not None:
                await request.read()
                raise problem
            return await self._answer(request)
        except Problem as problem:
            return problem.answer()

    async def _stall(self) -> None:
        self.is_stalled.set()
        await asyncio.sleep(3600)

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path.removeprefix(BASE)
        if request.method == "GET" and path.startswith("/status/"):
            self._check_tokens(request, None, "CREATE")
            return self._show_status(unquote(path.removeprefix("/status/")))
        if request.method == "POST" and path == "/documents/validation":
            parts, pdf = await self._read_parts(request)
            self._check_tokens(request, pdf, "CREATE")
            return self._validate(parts, pdf)
        if request.method == "POST" and path == "/documents":
            parts, pdf = await self._read_parts(request)
            claims = self._check_tokens(request, pdf, "CREATE")
            if self.stalls == "before":
                await self._stall()
            answer = self._publish(request, parts, pdf, claims, "")
            if self.stalls == "after":
                await self._stall()
            return answer
        if request.method == "PUT" and path.startswith("/documents/"):
            parts, pdf = await self._read_parts(request)
            claims = self._check_tokens(request, pdf, "UPDATE")
            former = unquote(path.removeprefix("/documents/"))
            if former not in self.documents:
                raise Problem(404, "/msg/record-not-found", "Documento non trovato")
            return self._publish(request, parts, pdf, claims, former)
        raise Problem(404, "/msg/record-not-found", path)

    async def _read_parts(self, request: web.Request) -> tuple[Json, bytes]:
        form = await request.post()
        file = form.get("file")
        if not isinstance(file, web.FileField) or "requestBody" not in form:
            raise Problem(400, "/msg/mandatory-element", "file o requestBody mancante")
        with file.file:
            pdf = file.file.read()
        if not pdf:
            raise Problem(400, "/msg/empty-file")
        if not pdf.startswith(b"%PDF-"):
            raise Problem(415, "/msg/document-type")
        return json.loads(str(form["requestBody"])), pdf

    # ---- tokens --------------------------------------------------------------------------

    def _check_tokens(self, request: web.Request, pdf: bytes | None, action: str) -> Json:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Problem(403, "/msg/missing-token")
        who, issuer = self._open_token(bearer)
        if who["iss"] != f"auth:{issuer}":
            raise Problem(403, "/msg/jwt-validation", "iss")
        what, issuer = self._open_token(request.headers.get("FSE-JWT-Signature", ""))
        if what["iss"] != f"integrity:{issuer}" or what["sub"] != who["sub"]:
            raise Problem(403, "/msg/jwt-validation", "iss")
        self._check_claims(what, action)
        digest = hashlib.sha256(pdf).hexdigest() if pdf is not None else None
        if digest != what.get("attachment_hash"):
            raise Problem(400, "/msg/document-hash")
        self.last_claims = what
        return what

    def _open_token(self, token: str) -> tuple[Json, str]:
        try:
            header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
            der = base64.b64decode(header["x5c"][0])
            certificate = x509.load_der_x509_certificate(der)
            root = x509.load_pem_x509_certificate(self.authority.path.read_bytes())
            certificate.verify_directly_issued_by(root)
            public = certificate.public_key()
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            key = RSAKey.import_key(pem)
            found = jwt.decode(token, key, registry=_Registry(algorithms=list(_ALGORITHMS)))
        except (ValueError, KeyError, IndexError, JoseError, InvalidSignature) as error:
            raise Problem(403, "/msg/jwt-validation", "firma") from error
        claims, now = dict(found.claims), self.clock()
        if header.get("typ") != "JWT" or certificate.not_valid_after_utc <= now:
            raise Problem(403, "/msg/jwt-validation", "certificato")
        for name in ("iss", "sub", "aud", "iat", "exp", "jti"):
            if name not in claims:
                raise Problem(403, "/msg/mandatory-element-token", name)
        if claims["aud"] != self.url or not claims["iat"] - 5 <= now.timestamp() < claims["exp"]:
            raise Problem(401, "https://govway.org/handling-errors/401/TokenExpired.html")
        if claims["jti"] in self.seen_tokens:
            raise Problem(403, "/msg/jwt-validation", "jti")
        self.seen_tokens.add(claims["jti"])
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return claims, str(names[0].value)

    def _check_claims(self, claims: Json, action: str) -> None:
        wanted: dict[str, Callable[[Any], bool]] = {
            "sub": lambda it: _CX.fullmatch(it) is not None,
            "subject_organization_id": lambda it: re.fullmatch(r"\d{3}", it) is not None,
            "subject_organization": bool,
            "locality": lambda it: _XON.fullmatch(it) is not None,
            "subject_role": lambda it: it in {"AAS", "APR"},
            "person_id": lambda it: _CX.fullmatch(it) is not None,
            "patient_consent": lambda it: it is True,
            "purpose_of_use": lambda it: it == ("UPDATE" if action == "UPDATE" else "TREATMENT"),
            "resource_hl7_type": lambda it: it == "('75496-0^^2.16.840.1.113883.6.1')",
            "action_id": lambda it: it == action,
            "subject_application_id": bool,
            "subject_application_vendor": bool,
            "subject_application_version": bool,
        }
        for name, is_right in wanted.items():
            if name not in claims:
                raise Problem(403, "/msg/mandatory-element-token", name)
            if not is_right(claims[name]):
                raise Problem(403, "/msg/jwt-validation", f"{name}: {claims[name]}")

    # ---- documents -------------------------------------------------------------------------

    def _validate(self, parts: Json, pdf: bytes) -> web.Response:
        if parts.get("activity") not in {"VALIDATION", "VERIFICA"}:
            raise Problem(400, "/msg/mandatory-element", "activity")
        cda = extract_cda(pdf)
        self._check_subject(cda)
        wrong = self.judge(cda)
        if wrong:
            raise Problem(422, "/msg/semantic", "; ".join(wrong))
        workflow = (
            f"2.16.840.1.113883.2.9.2.90.4.4.{hashlib.sha256(cda).hexdigest()}"
            f".{secrets.token_hex(5)}^^^^urn:ihe:iti:xdw:2013:workflowInstanceId"
        )
        self.validated[workflow] = hashlib.sha256(cda).hexdigest()
        self.events[workflow] = [self._event("VALIDATION")]
        content = {"workflowInstanceId": workflow}
        if self.warning:
            content["warning"] = self.warning
        return self._take(201, content)

    def _check_subject(self, cda: bytes) -> None:
        """The patient of the token is the patient of the document."""
        person = self.last_claims["person_id"].split("^")[0]
        ids = etree.fromstring(cda).xpath("//c:patientRole/c:id/@extension", namespaces=HL7)
        if person not in ids:
            raise Problem(403, "/msg/jwt-validation", "person_id")

    def _publish(
        self, request: web.Request, parts: Json, pdf: bytes, claims: Json, former: str
    ) -> web.StreamResponse:
        for name in _REQUIRED:
            if not parts.get(name):
                raise Problem(400, "/msg/mandatory-element", name)
        cda = extract_cda(pdf)
        workflow, number = parts["workflowInstanceId"], parts["identificativoDoc"]
        if self.validated.get(workflow) != hashlib.sha256(cda).hexdigest():
            raise Problem(400, "/msg/cda-match", "Il CDA non risulta validato")
        self._check_metadata(parts, cda, claims)
        if number in self.documents:
            raise Problem(409, "/msg/ini-error", "Documento già presente")
        if former:
            self.documents[former].is_replaced_by = number
        self.documents[number] = Stored(pdf, parts, claims)
        self.order.append(number)
        self.events[workflow].append(self._event("REPLACE" if former else "PUBLICATION"))
        if self.is_index_refusing:
            refusal = self._event("SEND_TO_INI", "BLOCKING_ERROR", message="INI rifiuta")
            self.events[workflow].append(refusal)
        elif self.is_indexing:
            self.events[workflow].append(self._event("SEND_TO_INI"))
        if self.loses_answers:
            self.loses_answers -= 1
            return self._cut(request)
        return self._take(202, {"workflowInstanceId": workflow})

    def _check_metadata(self, parts: Json, cda: bytes, claims: Json) -> None:
        identifier = etree.fromstring(cda).find("c:id", HL7)
        assert identifier is not None
        if parts["identificativoDoc"] != f"{identifier.get('root')}^{identifier.get('extension')}":
            raise Problem(400, "/msg/invalid-format", "identificativoDoc")
        if parts["tipoDocumentoLivAlto"] != "REF" or parts["tipoAttivitaClinica"] != "ERP":
            raise Problem(400, "/msg/invalid-format", "tipoDocumentoLivAlto")
        if re.fullmatch(r"AD_PSC\d{3}", parts["assettoOrganizzativo"]) is None:
            raise Problem(400, "/msg/invalid-format", "assettoOrganizzativo")
        for name in ("identificativoRep", "identificativoSottomissione"):
            if re.fullmatch(r"2(\.(0|[1-9]\d*))+", parts[name]) is None or len(parts[name]) > 64:
                raise Problem(400, "/msg/invalid-format", name)
        for name in ("dataInizioPrestazione", "dataFinePrestazione"):
            if re.fullmatch(r"\d{14}", parts[name]) is None:
                raise Problem(400, "/msg/invalid-format", name)
        moment = datetime.strptime(parts["dataFinePrestazione"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        if self.clock() - moment > timedelta(days=5):
            raise Problem(400, "/msg/max-day-limit-exceed")

    def index(self, workflow: str) -> None:
        """The index has taken the document over."""
        self.events[workflow].append(self._event("SEND_TO_INI"))

    def _show_status(self, workflow: str) -> web.Response:
        if workflow not in self.events:
            raise Problem(404, "/msg/record-not-found", "Transazione non trovata")
        return self._take(200, {"transactionData": self.events[workflow]})

    def _event(self, kind: str, status: str = "SUCCESS", **more: str) -> Json:
        return {
            "eventType": kind,
            "eventDate": self.clock().isoformat(),
            "eventStatus": status,
            **more,
        }

    def _take(self, status: int, content: Json) -> web.Response:
        trace = secrets.token_hex(8)
        return web.json_response({"traceID": trace, "spanID": trace, **content}, status=status)


def extract_cda(pdf: bytes) -> bytes:
    """``cda.xml`` of the PDF, as the gateway looks for it in mode ATTACHMENT."""
    try:
        root = PdfFileReader(io.BytesIO(pdf)).root
        names = root["/Names"]["/EmbeddedFiles"]["/Names"]
        files = {str(names[place]): names[place + 1] for place in range(0, len(names), 2)}
        return bytes(files["cda.xml"]["/EF"]["/F"].data)
    except (KeyError, PdfError) as error:
        raise Problem(400, "/msg/cda-element") from error


def check_structure(cda: bytes) -> list[str]:
    """What can be said of a CDA without the national rules."""
    document = etree.fromstring(cda)
    paths = ("c:typeId", "c:templateId", "c:id", "c:recordTarget", "c:author",
             "c:legalAuthenticator", "c:inFulfillmentOf", "c:componentOf")  # fmt: skip
    return [path for path in paths if document.find(path, HL7) is None]


def judge_by_national_rules() -> Iterator[Callable[[bytes], list[str]]]:
    """For a fixture: the validator where it lies beside us, else the structure alone."""
    if not (FSE / "validate.py").is_file():
        yield check_structure
        return
    opened = open_validator()
    validator = next(opened)
    yield lambda cda: [f"{one.rule}: {one.message}" for one in validator.errors(cda)]
    opened.close()


def connect(
    folder: Path,
    gateway: FseGateway,
    *,
    client: Certificate | None = None,
    ends_at: datetime | None = None,
    **settings: str,
) -> None:
    """Write the files of an organisation that is connected to it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name
    pairs = {
        "authentication": client or gateway.authority.issue(f"A1-{name}", ends_at=ends_at),
        "signature": gateway.authority.issue(f"S1-{name}", is_rsa=True, ends_at=ends_at),
    }
    for kind, pair in pairs.items():
        (folder / f"{kind}.pem").write_bytes(pair.certificate.read_bytes())
        (folder / f"{kind}.key").write_bytes(pair.private_key.read_bytes())
        (folder / f"{kind}.key").chmod(0o600)
    (folder / "authority.pem").write_bytes(gateway.authority.path.read_bytes())
    found = {"url": gateway.url, "repository": "2.16.840.1.113883.2.9.2.90.4.5.1", **settings}
    (folder / "gateway.json").write_text(json.dumps(found))


@asynccontextmanager
async def serve_gateway(
    folder: Path, clock: Callable[[], datetime], judge: Callable[[bytes], list[str]]
) -> AsyncIterator[FseGateway]:
    """A gateway on a free port of this machine."""
    authority = Authority(folder, "fse-authority")
    own = authority.issue("gateway")
    gateway = FseGateway(authority, judge, clock)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(own.certificate, own.private_key)
    app = web.Application(client_max_size=20 * 1024**2)
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    host, port = runner.addresses[0][:2]
    gateway.origin = f"https://{host}:{port}"
    yield gateway
    await runner.cleanup()
