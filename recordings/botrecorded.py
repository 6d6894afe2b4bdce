"""A synthetic patient's connection with the recorder: up once she has agreed, and carrying what
she shows and says only while her own view of the room says that the recording is on."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from recordings.botleg import Description, RecordedLeg
from recordings.botline import Weather
from recordings.botroom import Pair
from recordings.botstage import Body, Gate, PictureTrack, VoiceTrack
from recordings.echowords import Endpoint
from recordings.guard import BadOffer
from recordings.roomclient import UNNUMBERED, RoomClient
from signaling.messages import AnswerEvent, Offer

_CONNECTED_WITHIN_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 1.0


class RecordedCall:
    """``client`` is set once she is in the room."""

    def __init__(self, endpoint: Endpoint, body: Body, weather: Weather, is_on: Gate) -> None:
        self.client: RoomClient | None = None
        self._endpoint = endpoint
        self._body = body
        self._weather = weather
        self._is_on = is_on
        self._leg: RecordedLeg | None = None
        self._pair: Pair | None = None
        self._number = 0
        self._offered_at = 0.0

    async def look(self, pair: Pair | None) -> None:
        """Hold the connection of this pair, or none."""
        now = asyncio.get_running_loop().time()
        if self._leg is not None and (pair != self._pair or self._is_lost(self._leg, now)):
            await self.close()
        if pair is None or self._leg is not None or now - self._offered_at < _PAUSE_SECONDS:
            return
        self._pair, self._offered_at = pair, now
        self._number += 1
        await self._offer(pair)

    async def take_answer(self, signal: AnswerEvent, pair: Pair | None) -> None:
        """The recorder's; one to an older offer counts no more."""
        if pair is None or pair != self._pair or signal.generation != pair.generation:
            return
        try:
            answer = msgspec.json.decode(signal.payload, type=Description)
            if self._leg is not None and answer.leg == self._number:
                await self._leg.take_answer(answer)
        except (BadOffer, msgspec.MsgspecError):
            await self.close()

    async def die(self) -> None:
        if self._leg is not None:
            await self._leg.die()
            self._leg = None

    async def close(self) -> None:
        if self._leg is not None:
            await self._leg.close()
            self._leg = None

    def _is_lost(self, leg: RecordedLeg, now: float) -> bool:
        is_late = not leg.is_up and now - self._offered_at > _CONNECTED_WITHIN_SECONDS
        return is_late or leg.over.is_set()

    async def _offer(self, pair: Pair) -> None:
        stage, body = self._body.stage, self._body
        tracks = (
            VoiceTrack(stage, self._is_on, stage.microphone),
            PictureTrack(stage, self._is_on, stage.camera),
        )
        self._leg = RecordedLeg(self._endpoint, body.certificate, tracks, self._weather)
        offer = msgspec.Raw(msgspec.json.encode(await self._leg.offer(self._number)))
        if self.client is not None:
            self.client.send(
                Offer(cseq=UNNUMBERED, to=pair.to, generation=pair.generation, payload=offer)
            )
