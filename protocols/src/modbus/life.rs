//! Whether a device is asked, probed or left alone, and when it counts as lost. Pure: every time is a duration since the
//! line was started, and is passed in. Who asks is `protocols/modbus`.
//!
//! ```text
//!                     an answer                     demote_after in a row without one
//!   Connecting ──────────────────────▶ Up ───────────────────────────────────────────▶ Down
//!                                      ▲ │ exception 5, 6                              │  │ ▲
//!                                      │ ▼                                    each probe  │ │ no answer
//!                                     busy: left alone for a while            an answer   ▼ │
//!                                      ▲──────────────────────────────────────────────── probed
//! ```
//!
//! - An answer is a value or an exception of the device's own. Exceptions 10 and 11 are a gateway's, and no answer.
//! - *Silent*: the connection is there and the device does not answer on it. It costs its line a probe each `probe`.
//! - *Unconnected*: there is no connection to ask on. To try costs nothing, for the link has a patience of its own, so it
//!   is tried at every poll, with the full timeout: a device must not be slow to come back because its network was.

use std::time::Duration;

use super::exception::Class;
use super::settings::Tolerance;
use crate::backoff::Backoff;
use crate::health::{DeviceState, Transition};
use crate::sample::Reason;

/// The first pause of a busy device is drawn from 0 to this.
const BUSY_BASE: Duration = Duration::from_millis(500);
/// Every so many probes one waits the full timeout.
const FULL_PROBE: u32 = 5;

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Values.
    Values,
    /// This exception code, whoever sent it.
    Exception(u8),
    /// The request went out and was not answered as it should be: nothing, a broken frame, a connection that was closed
    /// instead.
    Silence(Reason),
    /// There was no connection to ask on.
    NoConnection,
}

/// What may be asked of a device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Everything that is due.
    Ask,
    /// One request, to see whether it lives.
    Probe {
        /// Whether it waits the device's full timeout, not the probe's.
        full: bool,
    },
    /// Nothing; this is why its readings are bad.
    Rest(Reason),
}

/// One device's life.
#[derive(Clone, Debug)]
pub struct Life {
    state: DeviceState,
    demote_after: u16,
    probe: Duration,
    /// In a row, without an answer.
    failures: u16,
    lost: Option<Lost>,
    busy: Backoff,
    busy_until: Option<(Duration, u8)>,
}

/// How a device is lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    Unconnected,
    /// `late`: a reply to the last probe came late, so the next waits the full timeout.
    Silent {
        next: Duration,
        probes: u32,
        late: bool,
    },
}

/// Whether the next probe waits the full timeout.
const fn is_full(probes: u32, late: bool) -> bool {
    late || (probes + 1).is_multiple_of(FULL_PROBE)
}

impl Life {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(tolerance: &Tolerance) -> Self {
        Life {
            state: DeviceState::Connecting,
            demote_after: tolerance.demote_after.max(1),
            probe: tolerance.probe,
            failures: 0,
            lost: None,
            busy: Backoff::new(BUSY_BASE, tolerance.busy_backoff_max),
            busy_until: None,
        }
    }

    /// As the status shows it.
    #[must_use]
    pub const fn state(&self) -> DeviceState {
        self.state
    }

    /// What may be asked now.
    #[must_use]
    pub fn leave(&self, now: Duration) -> Leave {
        match (self.lost, self.busy_until) {
            (Some(Lost::Unconnected), _) => Leave::Probe { full: true },
            (Some(Lost::Silent { next, probes, late }), _) if next <= now => {
                Leave::Probe { full: is_full(probes, late) }
            }
            (Some(Lost::Silent { .. }), _) => Leave::Rest(Reason::DeviceLost),
            (None, Some((until, code))) if now < until => Leave::Rest(Reason::ModbusException(code)),
            (None, _) => Leave::Ask,
        }
    }

    /// When a lost device is to be probed next, whatever is polled; `None` while it is not lost.
    #[must_use]
    pub fn next_probe(&self, now: Duration) -> Option<Duration> {
        self.lost.map(|lost| match lost {
            Lost::Unconnected => now.saturating_add(self.probe),
            Lost::Silent { next, .. } => next.max(now),
        })
    }

    /// Takes notice of an answer, or of none. `random` is evenly distributed over all of `u64`.
    pub fn note(&mut self, now: Duration, answer: Answer, random: u64) -> Option<Transition> {
        let reason = match answer {
            Answer::Exception(code) if Class::of(code) == Class::Busy => {
                self.busy_until = Some((now.saturating_add(self.busy.next(random)), code));
                return self.lives();
            }
            Answer::Exception(code) if !Class::of(code).is_alive() => Reason::ModbusException(code),
            Answer::Values | Answer::Exception(_) => {
                self.busy.reset();
                self.busy_until = None;
                return self.lives();
            }
            Answer::Silence(reason) => reason,
            Answer::NoConnection => Reason::ModbusConnect,
        };
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.demote_after {
            return None;
        }
        self.lost = Some(match (self.lost, answer) {
            // The probe did not even go out: it is tried again with the next connection.
            (Some(Lost::Silent { probes, late, .. }), Answer::NoConnection) => Lost::Silent { next: now, probes, late },
            (_, Answer::NoConnection) => Lost::Unconnected,
            (Some(Lost::Silent { probes, late: false, .. }), _) => {
                Lost::Silent { next: now.saturating_add(self.probe), probes: (probes + 1) % FULL_PROBE, late: false }
            }
            (Some(Lost::Silent { probes, .. }), _) => {
                Lost::Silent { next: now.saturating_add(self.probe), probes, late: false }
            }
            (_, _) => Lost::Silent { next: now.saturating_add(self.probe), probes: 0, late: false },
        });
        let was = std::mem::replace(&mut self.state, DeviceState::Down);
        (was != DeviceState::Down).then_some(Transition::Down(reason))
    }

    /// A late but matching reply to a probe came: the device lives, but slower than a probe waits. So it is asked again at
    /// once, with the full timeout. One that is too slow even for that stays lost, and costs no more than that.
    pub const fn note_late_reply(&mut self, now: Duration) {
        if let Some(Lost::Silent { next, late, .. }) = &mut self.lost {
            (*next, *late) = (now, true);
        }
    }

    /// Whether the next probe waits less than the full timeout; only then a late reply is news.
    #[must_use]
    pub const fn probes_shortly(&self) -> bool {
        matches!(self.lost, Some(Lost::Silent { probes, late, .. }) if !is_full(probes, late))
    }

    fn lives(&mut self) -> Option<Transition> {
        self.failures = 0;
        self.lost = None;
        let was = std::mem::replace(&mut self.state, DeviceState::Up);
        (was != DeviceState::Up).then_some(Transition::Up)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Answer = Answer::Silence(Reason::ModbusTimeout);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn life() -> Life {
        Life::new(&Tolerance::default())
    }

    #[test]
    fn mb13_three_silences_in_a_row_demote_and_one_answer_brings_back() {
        let mut life = life();
        assert_eq!(life.note(s(0), Answer::Values, 0), Some(Transition::Up));
        assert_eq!([TIMEOUT, TIMEOUT].map(|answer| life.note(s(1), answer, 0)), [None, None]);
        assert_eq!(life.note(s(2), Answer::Exception(4), 0), None, "an exception is life");
        assert_eq!([TIMEOUT, TIMEOUT].map(|answer| life.note(s(3), answer, 0)), [None, None]);
        assert_eq!(life.leave(s(3)), Leave::Ask);
        assert_eq!(life.note(s(4), TIMEOUT, 0), Some(Transition::Down(Reason::ModbusTimeout)));
        assert_eq!(life.leave(s(5)), Leave::Rest(Reason::DeviceLost));
        assert_eq!(life.next_probe(s(5)), Some(s(34)));
        assert_eq!(life.leave(s(34)), Leave::Probe { full: false });
        assert_eq!(life.note(s(34), Answer::Exception(2), 0), Some(Transition::Up));
        assert_eq!((life.leave(s(34)), life.next_probe(s(34))), (Leave::Ask, None));
    }

    #[test]
    fn mb13_every_fifth_probe_waits_the_full_timeout() {
        let mut life = life();
        for _ in 0..3 {
            life.note(s(0), TIMEOUT, 0);
        }
        let full = (1..=10).map(|n| {
            let leave = life.leave(s(30 * n));
            life.note(s(30 * n), TIMEOUT, 0);
            leave == Leave::Probe { full: true }
        });
        let full: Vec<bool> = full.collect();
        assert_eq!(full, [false, false, false, false, true, false, false, false, false, true]);
    }

    #[test]
    fn mb13_a_late_reply_to_a_probe_asks_again_at_once_and_in_full() {
        let mut life = life();
        for _ in 0..3 {
            life.note_late_reply(s(0));
            assert_eq!(life.leave(s(0)), Leave::Ask, "one that is asked must answer in time");
            life.note(s(0), TIMEOUT, 0);
        }
        assert!(life.probes_shortly());
        life.note(s(30), TIMEOUT, 0);
        life.note_late_reply(s(31));
        assert_eq!(life.leave(s(31)), Leave::Probe { full: true });
        assert!(!life.probes_shortly());
        let mut slower = life.clone();
        assert_eq!(life.note(s(32), Answer::Values, 0), Some(Transition::Up));
        assert_eq!(slower.note(s(32), TIMEOUT, 0), None);
        assert_eq!(slower.leave(s(61)), Leave::Rest(Reason::DeviceLost));
    }

    #[test]
    fn mb12_busy_pauses_that_device_up_to_its_bound_and_is_life() {
        let mut life = life();
        assert_eq!(life.note(s(0), Answer::Exception(6), u64::MAX), Some(Transition::Up));
        assert_eq!(life.leave(Duration::from_millis(499)), Leave::Rest(Reason::ModbusException(6)));
        assert_eq!(life.leave(Duration::from_millis(500)), Leave::Ask);
        for _ in 0..20 {
            assert_eq!(life.note(s(100), Answer::Exception(5), u64::MAX), None);
        }
        assert_eq!(life.leave(Duration::from_millis(129_999)), Leave::Rest(Reason::ModbusException(5)));
        assert_eq!(life.leave(s(130)), Leave::Ask);
        life.note(s(130), Answer::Values, 0);
        life.note(s(131), Answer::Exception(6), u64::MAX);
        assert_eq!(life.leave(Duration::from_millis(131_500)), Leave::Ask, "the pause begins anew");
    }

    #[test]
    fn mb12_a_gateway_that_cannot_reach_its_unit_is_no_life() {
        for code in [10, 11] {
            let mut life = life();
            let changes = [(); 3].map(|()| life.note(s(0), Answer::Exception(code), 0));
            assert_eq!(changes, [None, None, Some(Transition::Down(Reason::ModbusException(code)))]);
        }
    }

    #[test]
    fn mb13_without_a_connection_a_device_is_lost_and_still_tried_at_every_poll() {
        let mut life = life();
        let changes = [(); 4].map(|()| life.note(s(0), Answer::NoConnection, 0));
        assert_eq!(changes, [None, None, Some(Transition::Down(Reason::ModbusConnect)), None]);
        assert_eq!(life.leave(s(0)), Leave::Probe { full: true });
        // It is connected again, and silent: from here on it is probed slowly.
        assert_eq!(life.note(s(1), TIMEOUT, 0), None);
        assert_eq!(life.leave(s(2)), Leave::Rest(Reason::DeviceLost));
        // A probe that had no connection is tried again at once.
        life.note(s(31), Answer::NoConnection, 0);
        assert_eq!(life.leave(s(31)), Leave::Probe { full: false });
    }

    proptest! {
        /// Whatever comes: transitions alternate, and there is always a time at which it is asked again.
        #[test]
        fn mb13_nothing_is_given_up_and_each_transition_comes_once(
            steps in prop::collection::vec((0u64..40, 0u8..6, any::<u64>()), 1..200),
        ) {
            let mut life = life();
            let mut now = Duration::ZERO;
            let mut state = DeviceState::Connecting;
            for (pause, what, random) in steps {
                now += s(pause);
                let answer = match what {
                    0 => Answer::Values,
                    1 => Answer::Exception(6),
                    2 => Answer::Exception(11),
                    3 => Answer::NoConnection,
                    _ => TIMEOUT,
                };
                let change = life.note(now, answer, random);
                let next = match change {
                    Some(Transition::Up) => DeviceState::Up,
                    Some(Transition::Down(_)) => DeviceState::Down,
                    None => state,
                };
                prop_assert!(change.is_none() || next != state);
                state = next;
                prop_assert_eq!(life.state(), state);
                prop_assert!(!matches!(life.leave(now + s(31)), Leave::Rest(_)), "asked again in at most 30 s");
            }
        }
    }
}
