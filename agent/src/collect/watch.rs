//! Watches the wall clock against the boot clock, which never jumps: what ties them, whether that may be believed, and
//! which events say so. Pure: the clocks are read by [`crate::clock`].
//!
//! ```text
//!                    set, and not by a time source
//!      unsynced ──────────────────────────────────────▶ stepped ⟲ set again
//!       │    ▲                                            │  ▲
//!       │    │ the source is lost             a source    │  │ set, and the source is lost
//!       ▼    │                                            ▼  │
//!       └────┴─────────────────▶ synced ◀─────────────────┴──┘
//!          a source        ⟲ set by the source
//! ```
//!
//! Slewing is no step: the kernel slews both clocks alike, so that their difference stays (adjtimex(2)). A small jump
//! is not followed; small jumps add up until they are a step.

use lineside_protocols::clock::ClockOffset;
use lineside_protocols::event::Kind;
use lineside_protocols::wire::identity::{BootId, ClockState};

use crate::clock::Clocks;

/// From how far on a jump is a step, in milliseconds: more than two readings of the clocks are ever apart, and less than
/// what time sources step over (ntpd from 128 ms on, systemd-timesyncd from 400 ms on; less they slew).
pub const STEP: u64 = 50;

/// What the times of a block stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footing {
    /// Wall clock less boot clock.
    pub offset: ClockOffset,
    /// How far it may be believed.
    pub clock: ClockState,
}

/// What is known of the wall clock since the daemon started.
#[derive(Debug)]
pub struct Watch {
    boot: BootId,
    footing: Footing,
    /// The offset that a synchronised clock had, as the cloud was told it.
    told: Option<ClockOffset>,
}

impl Watch {
    /// From the first look on. A clock that is synchronised then is told by every block, and needs no event.
    #[must_use]
    pub fn new(boot: BootId, first: Clocks) -> Self {
        let clock = if first.synced { ClockState::Synced } else { ClockState::Unsynced };
        let footing = Footing { offset: first.offset(), clock };
        Watch { boot, footing, told: first.synced.then_some(footing.offset) }
    }

    /// As of the last look.
    #[must_use]
    pub const fn footing(&self) -> Footing {
        self.footing
    }

    /// Takes notice of the clocks; what the cloud has to be told about them, at most two events.
    pub fn look(&mut self, seen: Clocks) -> Vec<Kind> {
        let Footing { offset, clock } = self.footing;
        let stepped = seen.offset().0.abs_diff(offset.0) >= STEP;
        self.footing = Footing {
            offset: if stepped { seen.offset() } else { offset },
            clock: match (seen.synced, stepped || clock == ClockState::Stepped) {
                (true, _) => ClockState::Synced,
                (false, true) => ClockState::Stepped,
                (false, false) => ClockState::Unsynced,
            },
        };
        let Footing { offset: now, clock } = self.footing;
        let boot = self.boot.to_string();
        let mut kinds = Vec::new();
        if stepped {
            let (before, after) = (offset.wall(seen.boot).0, seen.wall.0);
            let clock = clock.name().to_owned();
            kinds.push(Kind::ClockStepped {
                boot: boot.clone(),
                mono_ms: seen.boot.0,
                before,
                after,
                offset_ms: now.0,
                clock,
            });
        }
        if clock == ClockState::Synced && self.told != Some(now) {
            self.told = Some(now);
            kinds.push(Kind::ClockSynchronised { boot, mono_ms: seen.boot.0, offset_ms: now.0 });
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use lineside_protocols::clock::BootMillis;
    use lineside_protocols::sample::UnixMillis;

    use super::*;

    const NOW: i64 = 1_795_400_000_000;

    fn seen(boot: i64, offset: i64, synced: bool) -> Clocks {
        Clocks { boot: BootMillis(boot), wall: UnixMillis(boot + offset), synced }
    }

    fn watch(offset: i64, synced: bool) -> Watch {
        Watch::new(BootId::from_random([7; 16]), seen(0, offset, synced))
    }

    fn names(kinds: &[Kind]) -> Vec<&'static str> {
        kinds.iter().map(|kind| kind.name().trim_start_matches("io.lineside.clock.")).collect()
    }

    #[test]
    fn a_boot_in_1970_is_corrected_by_two_events() {
        let mut watch = watch(0, false);
        assert!(watch.look(seen(1000, 0, false)).is_empty());
        assert_eq!(watch.footing().clock, ClockState::Unsynced);

        let boot = "07".repeat(16);
        let stepped = Kind::ClockStepped {
            boot: boot.clone(),
            mono_ms: 2000,
            before: 2000,
            after: NOW + 2000,
            offset_ms: NOW,
            clock: "stepped".into(),
        };
        assert_eq!(watch.look(seen(2000, NOW, false)), [stepped]);
        assert_eq!(watch.footing(), Footing { offset: ClockOffset(NOW), clock: ClockState::Stepped });

        let synchronised = Kind::ClockSynchronised { boot, mono_ms: 3000, offset_ms: NOW };
        assert_eq!(watch.look(seen(3000, NOW, true)), [synchronised]);
        assert_eq!(watch.footing().clock, ClockState::Synced);
        assert!(watch.look(seen(4000, NOW, true)).is_empty(), "told once");
    }

    #[test]
    fn a_source_that_steps_the_clock_says_both_at_once() {
        let mut watch = watch(0, false);
        assert_eq!(names(&watch.look(seen(1000, NOW, true))), ["stepped", "synchronised"]);
        assert_eq!(names(&watch.look(seen(2000, NOW - 1000, true))), ["stepped", "synchronised"], "a leap second");
    }

    #[test]
    fn what_the_blocks_say_themselves_needs_no_event() {
        let mut watch = watch(NOW, true);
        assert!(watch.look(seen(1000, NOW, true)).is_empty());
        assert!(watch.look(seen(2000, NOW, false)).is_empty(), "the source is lost");
        assert_eq!(watch.footing().clock, ClockState::Unsynced);
        assert!(watch.look(seen(3000, NOW, true)).is_empty(), "the same offset as before");
        assert_eq!(watch.footing().clock, ClockState::Synced);
    }

    #[test]
    fn a_clock_set_back_by_hand_is_stepped_until_a_source_has_it_again() {
        let mut watch = watch(NOW, true);
        let hour = 3_600_000;
        assert_eq!(names(&watch.look(seen(1000, NOW - hour, false))), ["stepped"]);
        assert!(watch.look(seen(2000, NOW - hour, false)).is_empty());
        assert_eq!(watch.footing(), Footing { offset: ClockOffset(NOW - hour), clock: ClockState::Stepped });
        assert_eq!(names(&watch.look(seen(3000, NOW, true))), ["stepped"], "what was told before is true again");
        assert_eq!(watch.footing(), Footing { offset: ClockOffset(NOW), clock: ClockState::Synced });
    }

    #[test]
    fn small_jumps_are_not_followed_but_add_up() {
        let step = i64::try_from(STEP).unwrap();
        let mut watch = watch(NOW, false);
        for jump in [step - 1, 1 - step, 1] {
            assert!(watch.look(seen(1000, NOW + jump, false)).is_empty());
            assert_eq!(watch.footing().offset, ClockOffset(NOW), "one offset for all");
        }
        let events: usize = (1..=10).map(|at| watch.look(seen(at, NOW + at * step / 2, false)).len()).sum();
        assert_eq!(events, 5);
    }

    #[test]
    fn clocks_at_the_ends_of_time_are_no_panic() {
        let mut watch = watch(i64::MIN, false);
        for (boot, wall) in [(0, i64::MAX), (i64::MAX, i64::MIN), (i64::MIN, i64::MAX)] {
            let clocks = Clocks { boot: BootMillis(boot), wall: UnixMillis(wall), synced: false };
            assert!(watch.look(clocks).len() <= 1);
        }
    }
}
