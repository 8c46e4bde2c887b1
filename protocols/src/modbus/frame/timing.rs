//! How long characters and silences last on a serial line (MODBUS over Serial Line 1.02, 2.5.1.1). Who waits is
//! `protocols/modbus`.
//!
//! Two silences bound a frame: 3.5 characters between two frames, which is kept before every request, and 1.5
//! characters at most inside one. The second cannot be enforced here: the kernel and a USB adapter hand bytes over in
//! portions up to 16 ms apart, so what a program sees as a pause says nothing about the line. The checksum and the
//! length that an answer must have take its place.

use std::time::Duration;

use crate::modbus::settings::{Parity, Serial};

/// Above this the silence is fixed.
const FIXED_ABOVE_BAUD: u32 = 19_200;
/// t3.5 above 19 200 baud.
const FIXED_GAP: Duration = Duration::from_micros(1750);

/// The silence before a request: as configured, else t3.5.
#[must_use]
pub fn frame_gap(serial: &Serial) -> Duration {
    serial.frame_gap.unwrap_or_else(
        || {
            if serial.baud > FIXED_ABOVE_BAUD { FIXED_GAP } else { half_characters(serial, 7) }
        },
    )
}

/// How long so many bytes are on the line, with their start, parity and stop bits.
#[must_use]
pub fn transmit_time(serial: &Serial, bytes: usize) -> Duration {
    half_characters(serial, u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2))
}

fn half_characters(serial: &Serial, halves: u64) -> Duration {
    let parity = match serial.parity {
        Parity::None => 0,
        Parity::Even | Parity::Odd => 1,
    };
    let bits = 1 + u64::from(serial.data_bits) + parity + u64::from(serial.stop_bits);
    let nanos = halves.saturating_mul(bits).saturating_mul(500_000_000).div_ceil(u64::from(serial.baud.max(1)));
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(baud: u32) -> Serial {
        Serial {
            path: "/dev/ttyS0".into(),
            baud,
            data_bits: 8,
            parity: Parity::Even,
            stop_bits: 1,
            rts_before: Duration::ZERO,
            rts_after: Duration::ZERO,
            frame_gap: None,
        }
    }

    #[test]
    fn mb14_the_gap_is_three_and_a_half_characters_and_fixed_above_19200_baud() {
        for (baud, micros) in [(1200, 32_084), (9600, 4011), (19_200, 2006), (38_400, 1750), (115_200, 1750)] {
            let gap = frame_gap(&serial(baud));
            assert!(gap.abs_diff(Duration::from_micros(micros)) < Duration::from_micros(1), "{baud}: {gap:?}");
        }
        let configured = Serial { frame_gap: Some(Duration::from_millis(9)), ..serial(115_200) };
        assert_eq!(frame_gap(&configured), Duration::from_millis(9));
    }

    #[test]
    fn mb14_every_bit_of_a_character_counts() {
        let base = serial(10_000);
        assert_eq!(transmit_time(&base, 8), Duration::from_micros(8 * 1100));
        let plain = Serial { parity: Parity::None, ..base.clone() };
        assert_eq!(transmit_time(&plain, 8), Duration::from_micros(8 * 1000));
        let ascii = Serial { data_bits: 7, stop_bits: 2, parity: Parity::Odd, ..base };
        assert_eq!(transmit_time(&ascii, 8), Duration::from_micros(8 * 1100));
        assert!(transmit_time(&serial(0), usize::MAX) > Duration::ZERO, "nothing overflows");
    }
}
