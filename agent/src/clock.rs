//! The wall clock, whether something disciplines it, and which boot this is. The only place that reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use lineside_protocols::sample::UnixMillis;
use lineside_protocols::wire::identity::{BootId, ClockState};

/// The wall clock in Unix milliseconds; before 1970 it is 0.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What the kernel says of its clock, with its estimate of the offset in milliseconds.
///
/// `STA_UNSYNC` is set until an NTP client has disciplined the clock, and again when it stops doing so (adjtimex(2)).
#[must_use]
pub fn state() -> (ClockState, f64) {
    // SAFETY: an all-zero timex is a valid value of this plain C struct.
    #[expect(unsafe_code, reason = "libc has no safe adjtimex")]
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is valid and exclusively borrowed; with `modes` 0 the call only reads.
    #[expect(unsafe_code, reason = "libc has no safe adjtimex")]
    let answer = unsafe { libc::adjtimex(&raw mut timex) };
    let synced = answer >= 0 && timex.status & libc::STA_UNSYNC == 0;
    let unit = if timex.status & libc::STA_NANO == 0 { 1e3 } else { 1e6 };
    #[expect(clippy::cast_precision_loss, reason = "an offset of 2^53 ns would be three months")]
    let offset_ms = timex.offset as f64 / unit;
    (if synced { ClockState::Synced } else { ClockState::Unsynced }, offset_ms)
}

/// The kernel's id of this boot; all zeros where `/proc` does not tell.
#[must_use]
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().parse().unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not tell which boot this is; blocks say 0");
        BootId::from_random([0; 16])
    })
}
