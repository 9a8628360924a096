# SPDX-License-Identifier: MIT
"""`CLinkEnd`: the C link protocol behind the interface of `emulator.protocol.link.LinkEnd`.

Both are written from docs/spec/link.md and run the same tests. What the C code keeps a pointer to
(messages on their way out, buffers of messages coming in) is kept alive here by address until C
gives it back. An exception in a callback of the owner ends the call into C normally and is raised
when that call returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from cffi import FFI

from emulator.core.functions import (
    CData,
    LinkConfigurationFields,
    LinkEventFields,
    LinkStatisticsFields,
)
from emulator.core.library import ffi, lib
from emulator.protocol.constants import (
    LINK_DROP_COUNT,
    Direction,
    LinkDrop,
    LinkReason,
    LinkRefusal,
    Verdict,
)
from emulator.protocol.frames import TrainRecord
from emulator.protocol.link_types import (
    Admit,
    Confirmed,
    Deliver,
    Dropped,
    Flow,
    LinkConfig,
    LinkStatistics,
    Output,
    PeerTrained,
    Refused,
    StateChanged,
    Transmit,
)

__all__ = ["CLinkEnd"]

_ERROR_INVALID: Final = -2
_ADMIT_ACCEPT: Final = 0
_ADMIT_HOLD: Final = -1
_NEVER_NS: Final = (1 << 64) - 1
_UNBOUNDED: Final = (1 << 63) - 1
_CONSTANTS: Final = (
    "nodes_max",
    "window",
    "keepalive_ns",
    "link_down_after_ns",
    "dead_after_ns",
    "ack_delay_ns",
    "ack_count",
)


def _configuration(config: LinkConfig) -> CData:
    pointer = ffi.new("struct link_configuration *")
    made = cast("LinkConfigurationFields", pointer)
    made.node_id = config.node_id
    made.peer_id = config.peer_id
    made.incarnation = config.incarnation
    for name in _CONSTANTS:
        setattr(made.constants, name, getattr(config.constants, name))
    made.mtu = config.mtu
    made.message_max = config.message_max
    made.wants_payload_crc = config.wants_crc
    made.offers_replay = config.offers_replay
    made.route = config.route
    made.cable_frames = config.cable_frames
    made.byte_order = config.byte_order
    made.data_model = config.data_model
    return pointer


class CLinkEnd:
    """One end of one link, in C; `emulator.protocol.link.LinkEnd` says what every method means."""

    def __init__(self, config: LinkConfig, flow: Flow, admit: Admit) -> None:
        """Begin without carrier in either direction.

        Args:
            config: Who we are and what we can do.
            flow: FLIPC state of the pair behind this link.
            admit: Asked about each claim of an incarnation.

        Raises:
            ValueError: A value of `config` is out of range.
        """
        self._config = config
        self._flow = flow
        self._admit = admit
        self._outputs: list[Output] = []
        self._buffers: dict[int, CData] = {}
        self._error: BaseException | None = None
        self._handle = ffi.new_handle(self)
        link = lib.link_binding_create(_configuration(config), _OPERATIONS, self._handle)
        if link == ffi.NULL:
            raise ValueError(f"not a link: {config}")
        self._link = ffi.gc(link, lib.link_binding_destroy)

    def take_outputs(self) -> list[Output]:
        """Return everything that came out since the last call, in order."""
        outputs = self._outputs
        self._outputs = []
        return outputs

    def carrier(
        self, direction: Direction, up: bool, generation: int, checked: bool, now_ns: int
    ) -> None:
        """Take the state of one direction from the cable."""
        lib.link_carrier(self._link, direction, up, generation, checked, now_ns)
        self._finish(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> None:
        """Take a frame from the PHY; any bytes are allowed."""
        lib.link_receive(self._link, frame, len(frame), ffi.NULL, ffi.NULL, now_ns)
        self._finish(now_ns)

    def send(self, message: bytes, now_ns: int) -> bool:
        """Send one whole mnl message; False if there is no room now.

        Raises:
            ValueError: The message is shorter than an mnl header or longer than the peer receives.
        """
        buffer = self._keep(len(message))
        ffi.memmove(buffer, message, len(message))
        status = lib.link_send(self._link, buffer, len(message), _UNBOUNDED, now_ns)
        if status != 0:
            self._take(buffer)
        self._raise()
        if status == _ERROR_INVALID:
            raise ValueError(f"mnl message of {len(message)} bytes")
        return status == 0

    def tick(self, now_ns: int) -> None:
        """Do everything whose deadline has come."""
        lib.link_tick(self._link, now_ns)
        self._finish(now_ns)

    def next_deadline_ns(self) -> int | None:
        """Return when `tick()` has something to do; the past means now, None never."""
        deadline_ns = lib.link_next_deadline_ns(self._link)
        self._raise()
        return None if deadline_ns == _NEVER_NS else deadline_ns

    def close(self, now_ns: int) -> None:
        """Stop in order; a later carrier change starts again."""
        lib.link_close(self._link, now_ns)
        self._finish(now_ns)

    def garbage(self, now_ns: int) -> None:
        """Close the receive direction because what it carried breaks the protocol above."""
        lib.link_garbage(self._link, now_ns)
        self._finish(now_ns)

    def peer_dead(self, incarnation: int, now_ns: int) -> None:
        """Forget an incarnation of the peer that was declared dead elsewhere."""
        lib.link_peer_died(self._link, incarnation, now_ns)
        self._finish(now_ns)

    def statistics(self) -> LinkStatistics:
        """Return the counters as they are now."""
        pointer = ffi.new("struct link_statistics *")
        lib.link_read_statistics(self._link, pointer)
        read = cast("LinkStatisticsFields", pointer)
        return LinkStatistics(
            peer=read.peer,
            rx_up=bool(read.state & 1),
            tx_up=bool(read.state & 2),
            epoch=read.epoch,
            peer_epoch=read.peer_epoch,
            trained=read.trained,
            tx_frames=read.tx_frames,
            tx_data_frames=read.tx_data_frames,
            tx_bytes=read.tx_bytes,
            rx_frames=read.rx_frames,
            rx_data_frames=read.rx_data_frames,
            rx_bytes=read.rx_bytes,
            replays=read.replays,
            naks=read.naks,
            round_trip_ns=read.round_trip_ns,
            forwarded=read.forwarded,
            drops=tuple(read.drops[i] for i in range(LINK_DROP_COUNT)),
        )

    # Memory and errors ----------------------------------------

    def _keep(self, len_bytes: int) -> CData:
        buffer = ffi.new("uint8_t[]", max(len_bytes, 1))
        self._buffers[_address(buffer)] = buffer
        return buffer

    def _take(self, pointer: CData) -> CData:
        return self._buffers.pop(_address(pointer))

    def _finish(self, now_ns: int) -> None:
        lib.link_pump(self._link, _UNBOUNDED, now_ns)
        self._raise()

    def _raise(self) -> None:
        error = self._error
        self._error = None
        if error is not None:
            raise error

    def _note_error(self, error: BaseException) -> None:
        self._error = self._error or error

    # What C calls ----------------------------------------

    def _on_transmit(self, header: CData, payload: CData, payload_bytes: int) -> int:
        frame = bytes(ffi.buffer(header))
        if payload_bytes:
            frame += bytes(ffi.buffer(payload, payload_bytes))
        self._outputs.append(Transmit(frame))
        return 0

    def _on_allocate(self, total_bytes: int) -> CData:
        return self._keep(total_bytes)

    def _on_release(self, message: CData) -> None:
        self._take(message)

    def _on_deliver(self, message: CData, total_bytes: int) -> int:
        self._outputs.append(Deliver(bytes(ffi.buffer(self._take(message), total_bytes))))
        return 0

    def _on_complete(self, message: CData) -> None:
        self._take(message)
        if not lib.link_binding_keeps_messages(self._link):
            return
        last = self._outputs[-1] if self._outputs else None
        if isinstance(last, Confirmed):
            self._outputs[-1] = Confirmed(last.message_count + 1)
        else:
            self._outputs.append(Confirmed(1))

    def _on_state(self, event: LinkEventFields) -> None:
        self._outputs.append(
            StateChanged(
                rx_up=event.rx_up,
                tx_up=event.tx_up,
                epoch=event.epoch,
                peer_epoch=event.peer_epoch,
                peer_incarnation=event.peer_incarnation,
                reason=LinkReason(event.reason),
                flipc_next=event.flipc_next if event.tx_up and event.peer_knows_us else None,
            )
        )

    def _on_trained(self, incarnation: int, record: CData, new_life: bool) -> None:
        parsed = TrainRecord.parse(bytes(ffi.buffer(record)))
        assert parsed is not None
        if new_life:
            self._flow.peer_changed(incarnation)
        self._outputs.append(
            PeerTrained(
                node_id=self._config.peer_id,
                incarnation=incarnation,
                record=parsed,
                is_new_life=new_life,
            )
        )

    def _on_refused(self, reason: int, incarnation: int, by_us: bool) -> None:
        self._outputs.append(
            Refused(by_us=by_us, reason=LinkRefusal(reason), incarnation=incarnation)
        )

    def _on_dropped(self, reason: int, count: int) -> None:
        self._outputs.extend([Dropped(LinkDrop(reason))] * count)

    def _on_admit(self, incarnation: int, record: CData) -> int:
        admission = self._admit(self._config.peer_id, incarnation)
        if isinstance(admission, LinkRefusal):
            return int(admission)
        return _ADMIT_ACCEPT if admission is Verdict.ACCEPT else _ADMIT_HOLD

    def _on_flow_read(self, ack: CData, credit: CData) -> None:
        ack[0] = self._flow.ack()
        credit[0] = self._flow.credit()

    def _on_flow_sent(self, now_ns: int) -> None:
        """`Flow.ack()` has noted it already."""

    def _on_flow_peer(self, ack: int, credit: int) -> None:
        self._flow.peer(ack, credit)

    def _on_flow_next(self) -> int:
        return self._flow.flipc_next()

    def _on_flow_deadline_ns(self) -> int:
        deadline_ns = self._flow.ack_deadline_ns()
        return _NEVER_NS if deadline_ns is None else max(deadline_ns, 0)


def _address(pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _make_callback(name: str, signature: FFI.CType) -> CData:
    """Return a C function that calls `CLinkEnd._on_<name>` of the link in its first argument."""
    method = cast("Callable[..., object]", getattr(CLinkEnd, f"_on_{name}"))
    nothing = {"void": None, "pointer": ffi.NULL}.get(signature.result.kind, 0)

    def call(context: CData, *arguments: object) -> object:
        end = cast("CLinkEnd", ffi.from_handle(context))
        try:
            return method(end, *arguments)
        except BaseException as error:  # raised again when the call into C returns
            end._note_error(error)
            return nothing

    return cast("CData", ffi.callback(signature, call))


_CALLBACKS: Final = {
    name: _make_callback(name, field.type)
    for name, field in ffi.typeof("struct link_operations").fields
    if name != "carrier"
}
_OPERATIONS: Final = ffi.new("struct link_operations *", _CALLBACKS)
