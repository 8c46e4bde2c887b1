//! A machine whose every value proves where and when it was read: one that was changed on its way, booked under another
//! signal or told twice is found by looking at it alone.
//!
//! ```text
//! 63                               24 23                                   0
//! | µs of the plant's clock          | check of them and of `device/cell_N` |
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Clock;
use super::machine::{Machine, Table};

/// Registers of one cell: a `u64`, high word first.
const WIDTH: u16 = 4;
/// As many as fit into one request, so that all of a row has one stamp.
const MOST_CELLS: u16 = 125 / WIDTH;
/// From one row to the next: the registers between them do not exist.
const STRIDE: u16 = 128;
const CHECK_BITS: u32 = 24;
const STAMP_BITS: u32 = u64::BITS - CHECK_BITS;

/// Runs as the wall does and never shows the same microsecond twice, so that no two answers carry the same stamp. A test
/// that makes a plant anew gives it the clock of the first one.
#[must_use]
pub fn clock() -> Clock {
    let start = Instant::now();
    let shown = AtomicU64::new(0);
    Arc::new(move || {
        let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let next = |shown: u64| now.max(shown.saturating_add(1));
        let (Ok(before) | Err(before)) =
            shown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |shown| Some(next(shown)));
        Duration::from_micros(next(before))
    })
}

/// Rows of cells in the holding registers: row `r` lies from `128 * r` on, so that each is a request of its own, and all are
/// of one shape. All cells of one answer carry the same stamp; with [`clock`] no other answer does.
#[derive(Clone, Debug)]
pub struct Proof {
    device: String,
    rows: Vec<Vec<String>>,
}

impl Proof {
    /// For a device of this name, one row with so many cells, at most 31: `cell_0` to `cell_30`.
    #[must_use]
    pub fn new(device: &str, cells: u16) -> Self {
        let cells = (0..cells.min(MOST_CELLS)).map(|cell| format!("{device}/cell_{cell}"));
        Proof { device: device.to_owned(), rows: vec![cells.collect()] }
    }

    /// With so many rows, which look alike to whoever only counts bytes: `cell_0_0`, `cell_1_0`, …
    #[must_use]
    pub fn rows(device: &str, rows: u16, cells: u16) -> Self {
        let row = |row| (0..cells.min(MOST_CELLS)).map(move |cell| format!("{device}/cell_{row}_{cell}")).collect();
        Proof { device: device.to_owned(), rows: (0..rows).map(row).collect() }
    }

    /// The `[[device]]` that reads all of it at `address`.
    #[must_use]
    pub fn configuration(&self, address: SocketAddr, poll: &str) -> String {
        self.configuration_with(&format!("protocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll = \"{poll}\"\n"))
    }

    /// The same with these keys of the device, whose name it has already.
    #[must_use]
    pub fn configuration_with(&self, keys: &str) -> String {
        let device = format!("[[device]]\nname = \"{}\"\n{keys}", self.device);
        let rows = self.rows.iter().zip((0_usize..).step_by(usize::from(STRIDE)));
        let signals = rows.flat_map(|(row, first)| row.iter().zip((first..).step_by(usize::from(WIDTH))));
        let signals = signals.map(|(cell, register)| {
            let name = cell.rsplit('/').next().unwrap_or_default();
            format!(
                "[[device.signal]]\nname = \"{name}\"\nregister = \"holding:{register}\"\ntype = \"u64\"\n\
                 order = \"ABCDEFGH\"\n"
            )
        });
        device + &signals.collect::<String>()
    }
}

impl Machine for Proof {
    fn read(&self, table: Table, address: u16, time: Duration) -> Option<u16> {
        let row = self.rows.get(usize::from(address / STRIDE)).filter(|_| table == Table::Holding)?;
        let at = address % STRIDE;
        let cell = row.get(usize::from(at / WIDTH))?;
        let stamp = u64::try_from(time.as_micros()).ok()? & (u64::MAX >> CHECK_BITS);
        let value = (stamp << CHECK_BITS) | check(cell, stamp);
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        let words = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes);
        words.get(usize::from(at % WIDTH)).copied()
    }
}

/// When `value` was read, in microseconds of the plant's clock, if it is what the cell behind `signal` held then.
/// `signal` is an identity that ends in `device/cell_N`.
#[must_use]
pub fn stamp(signal: &str, value: u64) -> Option<u64> {
    let (at, _) = signal.rmatch_indices('/').nth(1)?;
    let stamp = value >> CHECK_BITS;
    (value & (u64::MAX >> STAMP_BITS) == check(signal.get(at + 1..)?, stamp)).then_some(stamp)
}

/// Whether a signal of this identity is a cell of a [`Proof`].
#[must_use]
pub fn is_cell(signal: &str) -> bool {
    signal.rsplit('/').next().is_some_and(|name| name.starts_with("cell_"))
}

/// FNV-1a over both, its high bits mixed down: every single bit of either counts.
fn check(cell: &str, stamp: u64) -> u64 {
    let bytes = cell.bytes().chain(stamp.to_be_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> STAMP_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(machine: &Proof, cell: u16, time: Duration) -> u64 {
        let word = |at| u64::from(machine.read(Table::Holding, cell * WIDTH + at, time).unwrap());
        (0..WIDTH).fold(0, |value, at| (value << 16) | word(at))
    }

    #[test]
    fn no_moment_is_shown_twice() {
        let clock = clock();
        let shown: Vec<Duration> = (0..10_000).map(|_| clock()).collect();
        assert!(shown.is_sorted_by(|earlier, later| earlier < later));
    }

    #[test]
    fn a_value_proves_its_cell_and_its_time_and_no_other() {
        let machine = Proof::new("press-7", 31);
        let value = read(&machine, 3, Duration::from_micros(1_234_567));
        assert_eq!(stamp("acme/line-2/press-7/cell_3", value), Some(1_234_567));
        assert_eq!(stamp("acme/line-2/press-7/cell_4", value), None);
        assert_eq!(stamp("acme/line-2/press-8/cell_3", value), None);
        assert_eq!(stamp("cell_3", value), None);
        for bit in 0..u64::BITS {
            assert_eq!(stamp("acme/line-2/press-7/cell_3", value ^ (1 << bit)), None, "bit {bit}");
        }
        assert_eq!(machine.read(Table::Holding, 31 * WIDTH, Duration::ZERO), None);
        assert_eq!(machine.read(Table::Input, 0, Duration::ZERO), None);
    }

    #[test]
    fn rows_are_alike_and_no_cell_passes_for_one_of_another_row() {
        let machine = Proof::rows("press-7", 2, 3);
        let value = read(&machine, STRIDE / WIDTH + 1, Duration::from_micros(77));
        assert_eq!(stamp("acme/press-7/cell_1_1", value), Some(77));
        assert_eq!(stamp("acme/press-7/cell_0_1", value), None);
        assert_eq!(machine.read(Table::Holding, 3 * WIDTH, Duration::ZERO), None);
        let configuration = machine.configuration_with("");
        assert!(configuration.contains("name = \"cell_1_2\"\nregister = \"holding:136\"\n"), "{configuration}");
    }
}
