"""The pages of the join link and the answer to a claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from ipaddress import IPv4Address, ip_network
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from server.addresses import client_of
from server.auth import device_cookie, find_device, set_cookie
from server.bodies import read_body
from server.browsers import browser_family, device_kind
from server.db import EVERY_ORGANISATION, Database
from server.errors import AccantoError, InvalidInput, TooManyAttempts
from server.i18n import ROME
from server.join.claims import Answer, Browser, Claim, Claimed, ask_code, claim, find_visit
from server.join.rules import (
    SHOW_PHONE_AFTER,
    clean_locator,
    is_in_app_browser,
    parse_birth_date,
)
from server.joinlink import (
    DEVICE_CODE_DIGITS,
    REPORT_TERM,
    LinkPhase,
    is_complete_code,
    is_complete_fragment,
    link_phase,
    normalise,
)
from server.keyring import Keyring
from server.mail.letter import DEVICE_CODE_TERM
from server.models import Organisation, Visit, VisitState
from server.pages import json_response
from server.services import DATABASE, HUB, KEYRING, PAGES, SETTINGS, now_of
from server.throttle import Throttle
from signaling.reasons import ByeReason

CLAIM_THROTTLE: Final = web.AppKey("claim_throttle", Throttle)
_MOST_CHARACTERS: Final = 100
_OPEN: Final = frozenset({LinkPhase.EARLY, LinkPhase.CHECK_IN, LinkPhase.ROOM})
_PARTICIPANT: Final = "patient"
_Look = Callable[[Database, Keyring, Visit, Claim, Browser, datetime], Awaitable[Claimed]]


class ClaimRefused(AccantoError):
    """Why a claim did not open the visit; the code is an :class:`Answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.code = answer.value
        self.status = 410 if answer is Answer.LINK_REVOKED else 403


class ClaimBody(msgspec.Struct, frozen=True):
    """``secret`` is the whole fragment with its check character."""

    locator: str
    birth_date: str
    secret: str = ""
    code: str = ""


# ---- pages -----------------------------------------------------------------------------


async def show_code_page(request: web.Request) -> web.StreamResponse:
    """For who has a code on paper: locator, spoken code and birth date are typed."""
    return _form_page(request, None, None, phase=None)


async def show_link_page(request: web.Request) -> web.StreamResponse:
    """What the link of a message opens. A browser that has claimed it goes straight on."""
    locator = clean_locator(request.match_info["locator"])
    visit = await find_visit(request.app[DATABASE], locator)
    if visit is None:
        return _form_page(request, None, None, phase=None, locator=locator)
    async with request.app[DATABASE].read(visit.organisation_id) as session:
        organisation = await session.get_one(Organisation, visit.organisation_id)
        device = await find_device(session, request, locator)
    phase = link_phase(visit, visit.appointment, now_of(request))
    is_open = phase in _OPEN or (phase is LinkPhase.REPORT and visit.state is VisitState.ENDED)
    if device is not None and is_open:
        # The empty-looking fragment keeps the browser from carrying the secret along.
        raise web.HTTPSeeOther(f"/v/{locator}/check-in#main")
    if not is_open:
        return request.app[PAGES].render(
            request,
            "patient/closed.html",
            organisation_name=organisation.name,
            desk_phone=organisation.desk_phone,
            visit=visit,
            phase=phase,
        )
    return _form_page(request, visit, organisation, phase=phase, locator=locator)


def _form_page(
    request: web.Request,
    visit: Visit | None,
    organisation: Organisation | None,
    *,
    phase: LinkPhase | None,
    locator: str = "",
) -> web.Response:
    _ = request.app[PAGES].translator(request).gettext
    user_agent = request.headers.get("User-Agent", "")
    return request.app[PAGES].render(
        request,
        "patient/link.html",
        organisation_name=organisation.name if organisation else "",
        desk_phone=organisation.desk_phone if organisation else "",
        visit=visit,
        phase=phase,
        locator=locator,
        host=urlsplit(request.app[SETTINGS].base_url).netloc,
        is_in_app=is_in_app_browser(user_agent),
        is_phone_shown=visit is not None and visit.failed_claims >= SHOW_PHONE_AFTER,
        page_data={
            "locator": locator,
            "showPhoneAfter": SHOW_PHONE_AFTER,
            "words": _claim_words(_) | _sent_code_words(_),
        },
    )


def _claim_words(_: Callable[[str], str]) -> dict[str, str]:
    """What the page says after each answer, by its code or reason."""
    return {
        "not_matched": _("This does not match your booking. Check the date of birth."),
        "link_revoked": _("This link is no longer valid. Call the desk: they will help you."),
        "other_device": _(
            "This link is already open on another phone or computer. "
            "To go on here, ask for a code: we send it to your phone or by e-mail."
        ),
        "other_device_call": _(
            "This link is already open on another phone or computer. "
            "Call the desk and ask for the code."
        ),
        "code_needed": _("We need one more step. Call the desk and ask for the code."),
        "incomplete": _(
            "The link is incomplete. Open the link of the message again, "
            "or call the desk and ask for the code."
        ),
        "code_incomplete": _("The code has 8 letters and numbers. Check it, please."),
        "no_code": _("Write the code that the desk read to you."),
        "no_locator": _("Write the number of the visit. It is in your message."),
        "empty": _("Write your date of birth."),
        "two_digit_year": _("Write the year with four numbers, for example 1948."),
        "not_a_date": _("Write day, month and year, for example 12/03/1948."),
        "wait": _("One moment: we try again in {seconds} seconds. You do not have to do anything."),
        "trying": _("One moment, please."),
        "slow": _("It is taking longer than usual. Please wait."),
        "offline": _("We cannot reach the service. Check the internet, then press again."),
        "copied": _("Copied. Now open your browser and paste it."),
        "not_copied": _("Go back to the message, hold your finger on the link and copy it."),
    }


def _sent_code_words(_: Callable[[str], str]) -> dict[str, str]:
    """The same, about the code that is sent for a second device."""
    return {
        "code_sent": _("We have sent you a code of 6 digits. It works for 10 minutes."),
        "code_wrong": _("This is not the code. Look at the message again, please."),
        "code_over": _("This code does not work any more. Ask for a new one, please."),
        "code_pause": _("You can ask for another code at {time}. Or call the desk."),
        "device_code_incomplete": _("The code has 6 digits. Check it, please."),
    }


# ---- the claim -------------------------------------------------------------------------


async def claim_link(request: web.Request) -> web.StreamResponse:
    """``POST /api/join``: the visit is opened for this browser, or a stable code says why not."""
    now = now_of(request)
    visit, claimed = await _look(request, claim, now)
    if claimed.answer is not Answer.CLAIMED:
        raise ClaimRefused(claimed.answer)
    if claimed.has_replaced:
        await request.app[HUB].disconnect(visit.id, _PARTICIPANT, ByeReason.REPLACED)
    response = json_response({"next": f"/v/{visit.locator}/check-in"})
    if claimed.token:
        lifetime = visit.appointment.end + REPORT_TERM - now
        name = device_cookie(request, visit.locator)
        set_cookie(request, response, name, claimed.token, lifetime)
    return response


async def send_code(request: web.Request) -> web.StreamResponse:
    """``POST /api/join/code``: a code for a second device goes to the patient. ``is_sent`` is
    false when the claim needs none any more."""
    visit, asked = await _look(request, ask_code, now_of(request))
    if asked.answer not in {Answer.OTHER_DEVICE, Answer.CLAIMED}:
        raise ClaimRefused(asked.answer)
    response = json_response({"is_sent": bool(asked.token)})
    if asked.token:
        name = _code_cookie(request, visit.locator)
        set_cookie(request, response, name, asked.token, DEVICE_CODE_TERM)
    return response


async def _look(request: web.Request, look: _Look, now: datetime) -> tuple[Visit, Claimed]:
    """Let one attempt of a network through to :func:`claim` or :func:`ask_code`."""
    locator, brought = await _read_claim(request, now)
    visit = await find_visit(request.app[DATABASE], locator)
    network, throttle = _network_of(request), request.app[CLAIM_THROTTLE]
    throttle.count(network, now)
    if visit is None:
        raise ClaimRefused(Answer.NOT_MATCHED)
    try:
        browser = await _browser_of(request, visit.locator)
        database, keyring = request.app[DATABASE], request.app[KEYRING]
        claimed = await look(database, keyring, visit, brought, browser, now)
    except TooManyAttempts:
        throttle.forgive(network)
        raise
    if claimed.answer is not Answer.NOT_MATCHED:
        throttle.forgive(network)
    return visit, claimed


async def _read_claim(request: web.Request, now: datetime) -> tuple[str, Claim]:
    if request.content_type != "application/json":
        raise InvalidInput("body", "malformed")
    body = await read_body(request, ClaimBody)
    if max(map(len, msgspec.structs.astuple(body))) > _MOST_CHARACTERS:
        raise InvalidInput("body", "malformed")
    locator, secret, code = (
        clean_locator(body.locator),
        normalise(body.secret),
        normalise(body.code),
    )
    if not locator:
        raise InvalidInput("locator", "no_locator")
    if secret and not is_complete_fragment(secret):
        raise InvalidInput("secret", "incomplete")
    is_device_code = bool(secret) and len(code) == DEVICE_CODE_DIGITS and code.isdigit()
    if code and not is_device_code and not is_complete_code(code):
        raise InvalidInput("code", "code_incomplete")
    if not secret and not code:
        raise InvalidInput("code", "no_code")
    birth_date = parse_birth_date(body.birth_date, now.astimezone(ROME).date())
    if is_device_code:
        return locator, Claim(secret, "", birth_date, device_code=code)
    return locator, Claim(secret, code, birth_date)


async def _browser_of(request: web.Request, locator: str) -> Browser:
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        device = await find_device(session, request, locator)
    token = request.cookies.get(_code_cookie(request, locator), "")
    agent = request.headers.get(hdrs.USER_AGENT, "")
    known = device.id if device else ""
    return Browser(known, token, browser_family(agent), device_kind(agent))


def _code_cookie(request: web.Request, locator: str) -> str:
    """Binds a code that was sent to the browser that asked for it."""
    prefix = "__Host-" if request.app[SETTINGS].is_https else ""
    return f"{prefix}code-{locator}"


def _network_of(request: web.Request) -> str:
    """Where a claim comes from, as IPv4 /24 or IPv6 /56; never logged."""
    address = client_of(request)
    if address is None:
        return ""
    length = 24 if isinstance(address, IPv4Address) else 56
    return str(ip_network((address, length), strict=False))
