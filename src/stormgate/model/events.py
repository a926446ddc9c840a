"""The names of what happens in a run, as rows of its timeline."""

from __future__ import annotations

import enum


class Event(enum.StrEnum):
    """The names a timeline row's `event` may have."""

    RUN_BEGIN = "run.begin"
    RUN_CERTAIN = "run.certain"  # {why}: no sample to come could change the verdict
    RUN_END = "run.end"
    PHASE_BEGIN = "phase.begin"  # {phase}
    PHASE_END = "phase.end"  # {phase}
    FAULT_REQUESTED = "fault.requested"  # {fault, component, mode, id}
    FAULT_ACKNOWLEDGED = "fault.acknowledged"
    FAULT_OBSERVED = "fault.observed"  # + {proof}
    FAULT_UNPROVEN = "fault.unproven"  # + {why}: the deadline for a proof of effect passed
    FAULT_LOST = (
        "fault.lost"  # + {part, saw, last_seen_ns}: healed by somebody else, still standing
    )
    FAULT_CLEARED = "fault.cleared"
    FAULT_UNDO_FAILED = "fault.undo_failed"  # + {why}
    FAULT_UNDO_PENDING = "fault.undo_pending"  # + {why}: it takes long; still tried, never judged
    CHAOS_BEGIN = "chaos.begin"  # {fault, experiment}
    CHAOS_WAITING = "chaos.waiting"  # {fault, probe, within_s}: for what is to trigger it
    CHAOS_TRIGGERED = "chaos.triggered"  # {fault, saw}
    CHAOS_UNTRIGGERED = "chaos.untriggered"  # {fault, why}: never, so nothing was broken
    CHAOS_SKIPPED = "chaos.skipped"  # {fault, why}: not begun, for what it overlaps was over
    CHAOS_ROLLBACK = "chaos.rollback"  # {fault}: the method is over, undoing begins
    CHAOS_WITHDRAWN = "chaos.withdrawn"  # {by}: a person had the fault taken back before its time
    CHAOS_FAILED = "chaos.failed"  # {fault, activity, why}: an activity raised, or did nothing
    CHAOS_END = "chaos.end"  # {fault, exit_code, journal}
    LOAD_STEP = "load.step"
    LOAD_READY = "load.ready"
    LOAD_LOST = "load.lost"  # {worker, why}
    LOAD_FLOW_ERROR = "load.flow_error"  # {worker, flow, traceback}: a user's flow raised
    LOAD_FAILURE = "load.failure"  # the first request that failed so, what it wanted and where
    LOAD_REASON = "load.reason"  # {worker, kind, place, why}: why requests failed, once per place
    LOAD_ENGINE_ERROR = "load.engine_error"  # {worker, traceback}: the generator's own failure
    LOAD_END = "load.end"
    NET_REFUSED = "net.refused"  # {by, who, where, count}: it meant to send outside `allow`
    READ_BACK_BEGIN = "read_back.begin"  # the load has ended: what was written is read back
    READ_BACK_END = "read_back.end"  # {whole, why}
    GAMEDAY_STEP = "gameday.step"  # {step, digest, says}: sealed, before its injection
    GAMEDAY_ANSWER = "gameday.answer"  # {step, answer, by}: go, skip, hold or abort
    GAMEDAY_NOTE = "gameday.note"  # {text, by, step}: what a person said, when
    TARGET_UP = "target.up"
    TARGET_WHOLE = "target.whole"
    ABORT = "abort"  # {why, by}: a guard or a person
    ERROR = "error"  # {why}: the harness itself failed
