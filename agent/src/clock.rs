//! The wall clock, the boot clock, whether something disciplines the former, and which boot this is. The only place
//! that reads them. What follows from them is [`crate::collect::watch`]'s.

use std::time::{SystemTime, UNIX_EPOCH};

use lineside_protocols::clock::{BootMillis, ClockOffset};
use lineside_protocols::sample::UnixMillis;
use lineside_protocols::wire::identity::{BootId, ClockState, Unknown};

/// 2000-01-01: a clock that shows less was never set, whatever the kernel says of it. Gateways without a battery
/// begin in 1970, or at the date of their image.
const SET: UnixMillis = UnixMillis(946_684_800_000);
/// How far apart the two clocks may be read to count as read at one moment, in milliseconds.
const ONE_MOMENT: i64 = 1;
/// How often they are read if something comes in between each time.
const ATTEMPTS: usize = 4;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Since the kernel's start; never jumps.
    pub boot: BootMillis,
    /// The time of day, right or wrong.
    pub wall: UnixMillis,
    /// Whether a time source disciplines the wall clock.
    pub synced: bool,
}

impl Clocks {
    /// What ties them.
    #[must_use]
    pub const fn offset(&self) -> ClockOffset {
        ClockOffset::between(self.wall, self.boot)
    }
}

/// The wall clock in Unix milliseconds; negative before 1970.
#[must_use]
pub fn now() -> UnixMillis {
    let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

/// The boot clock.
#[must_use]
pub fn boot() -> BootMillis {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid and exclusively borrowed.
    #[expect(unsafe_code, reason = "std has no CLOCK_BOOTTIME")]
    unsafe {
        // It cannot fail: the clock is there since Linux 2.6.39, and the pointer is valid (clock_gettime(2)).
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
    }
    #[expect(clippy::useless_conversion, reason = "both are 32 bits wide on armv7")]
    let (seconds, nanos) = (i64::from(time.tv_sec), i64::from(time.tv_nsec));
    BootMillis(seconds * 1000 + nanos / 1_000_000)
}

/// What the wall clock would have shown at `at`, as it is set now.
#[must_use]
pub fn wall(at: BootMillis) -> UnixMillis {
    ClockOffset::between(now(), boot()).wall(at)
}

/// Both clocks, read as closely together as this machine's load allows.
#[must_use]
pub fn read() -> Clocks {
    let synced = state().0 == ClockState::Synced;
    let once = || {
        let (before, wall, after) = (boot(), now(), boot());
        (after.0 - before.0, Clocks { boot: before, wall, synced })
    };
    let mut best = once();
    for _ in 1..ATTEMPTS {
        if best.0 <= ONE_MOMENT {
            break;
        }
        let again = once();
        if again.0 < best.0 {
            best = again;
        }
    }
    best.1
}

/// What the kernel says of its clock, with its estimate of the offset in milliseconds; a clock that was never set is
/// not synchronised.
///
/// `STA_UNSYNC` is set until an NTP client has disciplined the clock, again when it stops doing so, and whenever the
/// clock is set (adjtimex(2)).
#[must_use]
pub fn state() -> (ClockState, f64) {
    // SAFETY: an all-zero timex is a valid value of this plain C struct.
    #[expect(unsafe_code, reason = "libc has no safe adjtimex")]
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is valid and exclusively borrowed; with `modes` 0 the call only reads.
    #[expect(unsafe_code, reason = "libc has no safe adjtimex")]
    let answer = unsafe { libc::adjtimex(&raw mut timex) };
    let synced = answer >= 0 && timex.status & libc::STA_UNSYNC == 0 && now() >= SET;
    let unit = if timex.status & libc::STA_NANO == 0 { 1e3 } else { 1e6 };
    #[expect(clippy::cast_precision_loss, reason = "an offset of 2^53 ns would be three months")]
    let offset_ms = timex.offset as f64 / unit;
    (if synced { ClockState::Synced } else { ClockState::Unsynced }, offset_ms)
}

/// The kernel's id of this boot.
///
/// # Errors
/// Where `/proc` does not tell. Another id must stand for it then, and a new one for each run: times of two boots
/// must never be told in one.
pub fn boot_id() -> Result<BootId, Unknown> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().parse()
}
