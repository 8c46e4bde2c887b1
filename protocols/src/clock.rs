//! The two clocks of a gateway, and what ties them. Neither is read here: times are passed in.
//!
//! The *boot clock* counts since the kernel's start and never jumps; the *wall clock* says what time of day it is, and
//! can be wrong, and be set. Whatever is measured is stamped by the boot clock. What time of day that was is said once
//! for a whole block, when it is sealed: so no block straddles a jump, however long its readings have waited.

use crate::sample::UnixMillis;

/// Milliseconds since the kernel started, suspend included: `CLOCK_BOOTTIME` (clock_gettime(2)). Meaningful within one
/// boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootMillis(pub i64);

/// Wall clock less boot clock, in milliseconds: the wall clock's time when the boot clock was 0.
///
/// Constant between two settings of the wall clock: the kernel slews both clocks alike (adjtimex(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// Of two readings of the clocks at one moment. Wraps where the two are 292 million years apart.
    #[must_use]
    pub const fn between(wall: UnixMillis, boot: BootMillis) -> Self {
        ClockOffset(wall.0.wrapping_sub(boot.0))
    }

    /// What the wall clock showed when the boot clock showed `boot`.
    #[must_use]
    pub const fn wall(self, boot: BootMillis) -> UnixMillis {
        UnixMillis(boot.0.wrapping_add(self.0))
    }

    /// What the boot clock showed when the wall clock showed `wall`; negative before the boot.
    #[must_use]
    pub const fn boot(self, wall: UnixMillis) -> BootMillis {
        BootMillis(wall.0.wrapping_sub(self.0))
    }
}
