"""A synthetic patient's side of the call: the leg of the present generation, the words that pass
over its channel, and what is proven of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from recordings.botleg import CallLeg, Description, NeedsNewLeg
from recordings.botline import Weather
from recordings.botroom import Pair, Person, RoomView
from recordings.botsas import PICTURES, PatientExchange
from recordings.botstage import Body, Gate, PictureTrack, VoiceTrack
from recordings.botwords import Figures
from recordings.echowords import Endpoint
from recordings.guard import BadOffer
from recordings.roomclient import UNNUMBERED, RoomClient
from signaling.messages import Answer, OfferEvent, ProveMedia

MOST_CHARACTERS: Final = 1000
_PULSE_SECONDS: Final = 1.0
_LAST_RESORT_SECONDS: Final = 20.0
_DEAD_AFTER_SECONDS: Final = {"audio": 3.0, "video": 8.0}


class Call:
    """``client`` and ``visit_id`` are set once she is in the room."""

    def __init__(
        self,
        endpoint: Endpoint,
        body: Body,
        weather: Weather,
        let_in: Gate,
        on_words: Callable[[str], None],
    ) -> None:
        self.client: RoomClient | None = None
        self.visit_id = ""
        self._endpoint = endpoint
        self._certificate = body.certificate
        self._stage = body.stage
        self._weather = weather
        self._let_in = let_in
        self._on_words = on_words
        self._leg: CallLeg | None = None
        self._pair: Pair | None = None
        self._exchange: PatientExchange | None = None
        self._written: list[str] = []
        self._proven: tuple[bool, bool] = (False, False)
        self._taken_back: set[str] = set()
        """Kinds that the other page does not send now, as it says."""
        self._pulsed_at = 0.0
        self._trouble_since = 0.0
        self._before = Figures()
        """Of the legs that are no more."""

    # ---- legs --------------------------------------------------------------------------

    async def take_offer(self, signal: OfferEvent, pair: Pair | None) -> None:
        """Answer it; one of another generation than the pair's is void."""
        if pair is None or signal.generation != pair.generation or signal.sender != pair.to:
            return
        if self._leg is None or pair != self._pair:
            await self._replace(pair)
        leg = self._leg
        if leg is None or self.client is None:
            return
        try:
            offer = msgspec.json.decode(signal.payload, type=Description)
            answer = await leg.answer(offer)
        except NeedsNewLeg:
            await self.client.rejoin()
            return
        except (BadOffer, msgspec.MsgspecError):
            return
        payload = msgspec.Raw(msgspec.json.encode(answer))
        self.client.send(
            Answer(cseq=UNNUMBERED, to=pair.to, generation=pair.generation, payload=payload)
        )

    async def die(self) -> None:
        """The line is gone, and nobody is told."""
        if self._leg is not None:
            await self._leg.die()
            self._forget()

    async def close(self) -> None:
        if self._leg is not None:
            await self._leg.close()
            self._forget()

    async def _replace(self, pair: Pair) -> None:
        await self.close()
        tracks = (
            VoiceTrack(self._stage, self._let_in, self._stage.microphone),
            PictureTrack(self._stage, self._let_in, self._stage.camera),
        )
        self._leg = CallLeg(
            self._endpoint, self._certificate, tracks, self._weather, on_message=self._receive
        )
        self._pair, self._exchange = pair, None
        self._proven = (False, False)
        self._taken_back = set()

    def _forget(self) -> None:
        _add(self._before, self._leg)
        self._leg = None

    def count(self, figures: Figures) -> None:
        """Everything so far, those legs included that are no more."""
        for name in ("voice_sent", "pictures_sent", "voice_heard", "pictures_seen", "legs"):
            setattr(figures, name, getattr(self._before, name))
        _add(figures, self._leg)

    # ---- what is told again and again --------------------------------------------------

    async def look(self, room: RoomView) -> None:
        """A glance at the call; call it several times a second."""
        leg = self._leg
        if leg is None:
            return
        if room.pair != self._pair:
            await self.close()
            return
        now = asyncio.get_running_loop().time()
        if leg.is_up and self._exchange is None and leg.opened.is_set():
            self._begin_exchange(leg)
        self._prove(leg, room)
        if now - self._pulsed_at >= _PULSE_SECONDS:
            self._pulsed_at = now
            self._pulse(leg, room.clinician, now)
        self._written = [text for text in self._written if not leg.tell({"text": text})]
        await self._heal(leg, room.clinician, now)

    def write(self, text: str) -> None:
        """In the chat, as soon as messages can pass."""
        self._written.append(text[:MOST_CHARACTERS])

    async def _heal(self, leg: CallLeg, clinician: Person | None, now: float) -> None:
        """The clinician's page mends; this side comes anew as a last resort."""
        if not leg.over.is_set() or clinician is None or clinician.is_away:
            self._trouble_since = now
        elif now - self._trouble_since > _LAST_RESORT_SECONDS and self.client is not None:
            self._trouble_since = now
            await self.client.rejoin()

    def _prove(self, leg: CallLeg, room: RoomView) -> None:
        arrived = leg.arrived
        found = arrived["audio"].frames > 0, arrived["video"].frames > 0
        if found == self._proven or self._pair is None or self.client is None:
            return
        if room.is_admitted:
            self._proven = found
            audio, video = found
            self.client.send(
                ProveMedia(cseq=UNNUMBERED, of=self._pair.to, audio=audio, video=video)
            )

    def _pulse(self, leg: CallLeg, clinician: Person | None, now: float) -> None:
        is_in = self._let_in.is_open
        sender = clinician if is_in and clinician and not clinician.is_away else None
        pulse = {
            "hears": _arrival(leg, "audio", now, self._is_due("audio", sender)),
            "sees": _arrival(leg, "video", now, self._is_due("video", sender)),
            "audio": is_in and self._stage.microphone.is_open,
            "video": is_in and self._stage.camera.is_open,
        }
        leg.tell({"pulse": pulse})

    def _is_due(self, kind: str, sender: Person | None) -> bool:
        """What the room promises and the other page has not taken back: on a weak line it stops
        its picture for a while."""
        if sender is None or kind in self._taken_back:
            return False
        return sender.microphone if kind == "audio" else sender.camera

    # ---- the channel -------------------------------------------------------------------

    def _receive(self, message: str | bytes) -> None:
        try:
            said = msgspec.json.decode(message)
        except msgspec.MsgspecError:
            return
        if not isinstance(said, dict):
            return
        if isinstance(said.get("text"), str):
            self._on_words(said["text"][:MOST_CHARACTERS])
        if isinstance(said.get("pulse"), dict):
            pulse = said["pulse"]
            self._taken_back = {kind for kind in _DEAD_AFTER_SECONDS if pulse.get(kind) is False}
        if isinstance(said.get("sas"), dict):
            self._check(said["sas"])

    def _begin_exchange(self, leg: CallLeg) -> None:
        [own] = [one for one in self._certificate.getFingerprints() if one.algorithm == "sha-256"]
        self._exchange = PatientExchange(
            self.visit_id,
            bytes.fromhex(own.value.replace(":", "")),
            leg.fingerprint,
            lambda message: _tell_sas(leg, message),
        )
        self._exchange.begin()

    def _check(self, message: dict[str, Any]) -> None:
        if self._exchange is None and self._leg is not None:
            self._begin_exchange(self._leg)
        step = message.get("step")
        if self._exchange is None:
            return
        if step in {"commit", "reveal"}:
            self._exchange.receive(step, message.get("value"))
        elif step == "ask" and self._exchange.figures:
            self.write(" ".join(PICTURES[figure] for figure in self._exchange.figures))


def _tell_sas(leg: CallLeg, message: dict[str, str]) -> None:
    leg.tell({"sas": message})


def _arrival(leg: CallLeg, kind: str, now: float, is_due: bool) -> bool | None:
    """Whether it arrives; None: it is not due, or it is too early to say."""
    if not is_due:
        return None
    arrived = leg.arrived[kind]
    if now - max(leg.since, arrived.at) >= _DEAD_AFTER_SECONDS[kind]:
        return False
    return True if arrived.frames else None


def _add(figures: Figures, leg: CallLeg | None) -> None:
    if leg is None:
        return
    voice, picture = leg.tracks
    figures.legs += 1
    figures.voice_sent += voice.sent
    figures.pictures_sent += picture.sent
    figures.voice_heard += leg.arrived["audio"].frames
    figures.pictures_seen += leg.arrived["video"].frames
