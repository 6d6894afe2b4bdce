"""One synthetic patient: she comes in by her link, waits, answers the clinician's page, does what
her script says, and has her own word about a recording.

The signals of the room pass one after another; everything else follows the view of the room
(``botroom``). Used by ``recordings.bot``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import aiohttp
import msgspec

from recordings.botcall import Call
from recordings.botdoor import Door
from recordings.botline import Weather
from recordings.botrecorded import RecordedCall
from recordings.botroom import RoomView
from recordings.botstage import Body, Gate
from recordings.botvoice import Speech, speak
from recordings.botwords import Figures, Orders
from recordings.roomclient import UNNUMBERED, RoomClient
from recordings.script import Player, Step, StepAct, Trigger
from signaling.messages import AnswerEvent, OfferEvent, RoomEvent, SetMedia, Welcome
from signaling.recordingevents import RecordingState

_LOOK_SECONDS: Final = 0.25
_YES: Final = Step(when=Trigger.RECORDING_ASKED, after_seconds=3, act=StepAct.ACCEPT_RECORDING)
"""What she says to a recording when her script says nothing about it."""


class Patient:
    """``figures`` grow while she lives."""

    def __init__(
        self, orders: Orders, body: Body, session: aiohttp.ClientSession, figures: Figures
    ) -> None:
        """:raises DoorClosed: she has no join link."""
        script = orders.script
        steps = script.steps
        if not any(step.when is Trigger.RECORDING_ASKED for step in steps):
            script = msgspec.structs.replace(script, steps=(*steps, _YES))
        self.figures = figures
        self._script = script
        self._door = Door(session, orders.link, orders.birth_date, orders.address)
        self._stage = body.stage
        self._weather = Weather(script.line)
        self._player = Player(script)
        self._room = RoomView()
        self._let_in = Gate(is_open=False)
        self._recording = Gate(is_open=False)
        self._call = Call(orders.endpoint, body, self._weather, self._let_in, self._hear)
        self._recorded = RecordedCall(orders.endpoint, body, self._weather, self._recording)
        self._signals: asyncio.Queue[OfferEvent | AnswerEvent] = asyncio.Queue()
        self._client: RoomClient | None = None
        self._is_away = False
        self._has_left = False
        self._changed = asyncio.Event()
        self._ask = ""
        self._is_on = False

    async def live(self) -> None:
        """From the link to the end of the visit.

        :raises DoorClosed: she was not let in.
        """
        await asyncio.sleep(self._script.arrives_after_seconds)
        await self._door.come_in(self._script.companions, has_camera=self._script.has_camera)
        self._call.visit_id = self._door.visit_id
        self._happened(Trigger.WAITING)
        try:
            async with asyncio.TaskGroup() as helpers:
                beside = (self._act, self._follow_signals, self._look)
                tasks = [helpers.create_task(helper()) for helper in beside]
                while await self._stay() and await self._come_back():
                    pass
                for task in tasks:
                    task.cancel()
        finally:
            await self._hang_up()

    async def leave(self) -> None:
        """Politely: the room hears of it."""
        if self._client is not None:
            await self._client.leave()

    # ---- the room ----------------------------------------------------------------------

    async def _stay(self) -> bool:
        """In the room, until the visit is over or her line dies; whether the latter."""
        door = self._door
        client = self._client = RoomClient(
            door.socket_url, door.origin, door.fetch_ticket, self._on_welcome, self._on_event
        )
        self._call.client = self._recorded.client = client
        staying = asyncio.create_task(client.run())
        try:
            while not staying.done() and not self._is_away:
                self._changed.clear()
                changing = asyncio.create_task(self._changed.wait())
                await asyncio.wait({staying, changing}, return_when=asyncio.FIRST_COMPLETED)
                changing.cancel()
        finally:
            self.figures.reconnects += client.reconnects
            if not staying.done():
                staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
        if staying.cancelled():
            return True
        self.figures.end = staying.result()
        return False

    async def _come_back(self) -> bool:
        """Waits for it; False when nothing in the script leads back."""
        await self._call.die()
        await self._recorded.die()
        while self._is_away:
            if self._player.next_at is None:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def _on_welcome(self, welcome: Welcome) -> None:
        self.figures.has_joined = True
        if not welcome.resumed:
            self._room.join(welcome)
        self._settle()
        self._tell_media()

    def _on_event(self, event: RoomEvent) -> None:
        if isinstance(event, OfferEvent | AnswerEvent):
            if event.to == self._room.you:
                self._signals.put_nowait(event)
            return
        self._room.apply(event)
        self._settle()

    def _settle(self) -> None:
        """Makes her follow the room."""
        room = self._room
        is_admitted = room.is_admitted
        self._let_in.set(is_open=is_admitted)
        self._recording.set(is_open=room.is_recording)
        if is_admitted and self._has_left:
            self._has_left = False
            self._happened(Trigger.RETURNED)
        if is_admitted and not self.figures.is_admitted:
            self.figures.is_admitted = True
            self._happened(Trigger.ADMITTED)
        self._notice_recording()

    def _notice_recording(self) -> None:
        recording, you = self._room.recording, self._room.you
        is_new = recording.ask and recording.ask != self._ask
        self._ask = recording.ask
        if is_new and not recording.has_agreed(you):
            self._happened(Trigger.RECORDING_ASKED)
        is_on = recording.state is RecordingState.ON
        if is_on and not self._is_on:
            self._happened(Trigger.RECORDING_ON)
        self._is_on = is_on

    def _tell_media(self) -> None:
        """What she sends, for the words of the other page."""
        own, stage = self._room.self, self._stage
        flags = stage.microphone.is_open, stage.camera.is_open
        if own is None or self._client is None or (own.microphone, own.camera) == flags:
            return
        microphone, camera = flags
        self._client.send(SetMedia(cseq=UNNUMBERED, microphone=microphone, camera=camera))

    # ---- what goes on beside -----------------------------------------------------------

    async def _follow_signals(self) -> None:
        while True:
            signal = await self._signals.get()
            if isinstance(signal, OfferEvent):
                await self._call.take_offer(signal, self._room.pair)
            else:
                await self._recorded.take_answer(signal, self._room.recorder_pair)

    async def _look(self) -> None:
        while True:
            await self._call.look(self._room)
            await self._recorded.look(self._room.recorder_pair)
            self._call.count(self.figures)
            await asyncio.sleep(_LOOK_SECONDS)

    def _hear(self, text: str) -> None:
        """Words in the chat."""
        self._happened(Trigger.HEARD, text)

    async def _hang_up(self) -> None:
        self._call.count(self.figures)
        await self._call.close()
        await self._recorded.close()

    # ---- the script --------------------------------------------------------------------

    def _happened(self, trigger: Trigger, text: str = "") -> None:
        self._player.happened(trigger, self._stage.seconds, text)
        self._changed.set()

    async def _act(self) -> None:
        while True:
            for step in self._player.take_due(self._stage.seconds):
                await self._do(step)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _do(self, step: Step) -> None:
        match step.act:
            case StepAct.SAY:
                await self._say(step.text)
            case StepAct.TYPE:
                self._call.write(step.text)
            case StepAct.MUTE | StepAct.UNMUTE:
                self._stage.microphone.set(is_open=step.act is StepAct.UNMUTE)
                self._tell_media()
            case StepAct.CAMERA_OFF | StepAct.CAMERA_ON:
                self._stage.camera.set(is_open=step.act is StepAct.CAMERA_ON)
                self._tell_media()
            case StepAct.LINE:
                self._weather.line = step.line
            case StepAct.LEAVE | StepAct.COME_BACK:
                self._is_away = step.act is StepAct.LEAVE
                self._has_left = True
            case StepAct.ACCEPT_RECORDING | StepAct.REFUSE_RECORDING | StepAct.STOP_RECORDING:
                await self._decide(step.act)
        self._changed.set()

    async def _say(self, text: str) -> None:
        """Where no words can be made she writes them, too."""
        speech: Speech = await asyncio.to_thread(speak, text)
        self._stage.say(speech.packets)
        if not speech.has_words:
            self._call.write(text)

    async def _decide(self, act: StepAct) -> None:
        ask = self._room.recording.ask
        if not ask:
            return
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            if act is StepAct.STOP_RECORDING:
                await self._door.stop_recording(ask)
            else:
                await self._door.answer_recording(ask, is_accepted=act is StepAct.ACCEPT_RECORDING)
