//! A Modbus device and its signals, typed and checked: what cannot be read does not get this far.
//! Which keys of the configuration they come from is in `config`; how they are read is in [`super::plan`].

mod address;
mod layout;
mod line;
mod text;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::name::Name;
use crate::report::Reporting;
use crate::sample::Scalar;

pub use address::{Address, AddressError, Table};
pub use layout::{Layout, Order16, Order32, Order64};
pub use line::{Host, Line, Parity, Serial, Transport};
pub use text::{Characters, Text, TextEncoding, Trim, WordOrder};

/// Most registers in one request (Modbus Application Protocol 1.1b3, 6.3 and 6.4).
pub const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs in one request (Modbus Application Protocol 1.1b3, 6.1 and 6.2).
pub const MAX_BITS: u16 = 2000;

/// `value = raw * factor + offset`; the result is an `f64`: of a raw integer the one next to the exact result in decimal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Finite and not 0.
    pub factor: f64,
    /// Finite.
    pub offset: f64,
}

/// A raw value that means "no value".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoValue {
    /// This raw integer (of an integer type). Of BCD and Mod10k it is the number that the digits say, or, beyond the
    /// largest of these, the bits of all registers: 65535 is `0xFFFF` of a `bcd16`.
    Integer(i128),
    /// This raw floating-point number; NaN never equals, and is bad without being listed.
    Float(f64),
}

/// One signal of a Modbus device.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Unique on its asset.
    pub name: Name,
    /// Where it begins; `address.offset + layout.width()` is at most 65 536.
    pub address: Address,
    /// How it is laid out; a [`Layout::Coil`] if and only if the table is of bits.
    pub layout: Layout,
    /// What the device's clock shows; only times look at it. Default UTC.
    pub timezone: TimeZone,
    /// Scaling, where configured; of numbers only, as what follows.
    pub scale: Option<Scale>,
    /// Bounds of the value after scaling, low ≤ high.
    pub clamp: Option<(f64, f64)>,
    /// Raw values that mean "no value".
    pub no_value: Vec<NoValue>,
    /// UCUM unit of the value.
    pub unit: Option<String>,
    /// How often it is read.
    pub poll: Duration,
    /// Which of its readings are reported.
    pub reporting: Reporting,
}

impl Signal {
    /// A signal with every setting at its default.
    #[must_use]
    pub fn new(name: Name, address: Address, layout: Layout, poll: Duration) -> Self {
        let (scale, clamp, no_value, unit, reporting) = (None, None, Vec::new(), None, Reporting::default());
        Signal { name, address, layout, timezone: TimeZone::UTC, scale, clamp, no_value, unit, poll, reporting }
    }

    /// The type of its readings: scaled values are `f64`, others keep the raw type.
    #[must_use]
    pub const fn value_type(&self) -> Scalar {
        if self.scale.is_some() { Scalar::F64 } else { self.layout.raw_type() }
    }
}

/// What one request to a device may span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registers in one request, 1 to [`MAX_REGISTERS`].
    pub max_registers: u16,
    /// Coils or discrete inputs in one request, 1 to [`MAX_BITS`].
    pub max_bits: u16,
    /// Unconfigured registers that may be read over to join two requests. Default 0.
    pub gap: u16,
    /// The same for bits. Default 0.
    pub gap_bits: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_registers: MAX_REGISTERS, max_bits: MAX_BITS, gap: 0, gap_bits: 0 }
    }
}

/// What to do with a poll whose time came while the one before was still going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overrun {
    /// Leave it out, count it, and keep to the schedule.
    #[default]
    Skip,
    /// Read at once, until the schedule is met again.
    CatchUp,
}

/// What to do behind an exception.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterException {
    /// The next answer counts.
    #[default]
    GoOn,
    /// The answer after exception 02 is read once more: some devices answer it with garbage.
    Discard,
}

/// How a device is treated that does not answer, or not as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// See [`AfterException`].
    pub after_exception: AfterException,
    /// How often a learned hole or limit is tried again. Default 10 min.
    pub hole_retry: Duration,
    /// Requests in a row without an answer after which only probes are sent, from 1. Default 3.
    pub demote_after: u16,
    /// How often a demoted device is probed. Default 30 s.
    pub probe: Duration,
    /// How long a probe waits, so that a dead unit costs its line little. Every fifth waits the full timeout; a late
    /// but matching reply counts as life. Default 200 ms.
    pub probe_timeout: Duration,
    /// Longest pause after exceptions 05 and 06 (busy). Default 30 s.
    pub busy_backoff_max: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance {
            after_exception: AfterException::GoOn,
            hole_retry: Duration::from_secs(600),
            demote_after: 3,
            probe: Duration::from_secs(30),
            probe_timeout: Duration::from_millis(200),
            busy_backoff_max: Duration::from_secs(30),
        }
    }
}

/// One Modbus device: a unit on a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Unique among all devices.
    pub name: Name,
    /// What the readings are about; the device's name where not set.
    pub asset: Name,
    /// The line that it is reached on.
    pub line: Line,
    /// Unit identifier, 0 to 255.
    pub unit: u8,
    /// Longest wait for the answer to one request. Default 1 s.
    pub timeout: Duration,
    /// See [`Overrun`].
    pub overrun: Overrun,
    /// What one request may span.
    pub limits: Limits,
    /// Requests in flight at once on Modbus TCP, 1 to 8. Default 1: many devices answer only one.
    pub pipeline: u8,
    /// Most requests a second that this device is asked, in whole operation; a plan above it is refused. Default none.
    pub max_rate: Option<f64>,
    /// Whether an answer must bear the unit that was asked. Default true; some gateways always answer as 0 or 255.
    pub check_unit: bool,
    /// What happens when it does not answer as it should.
    pub tolerance: Tolerance,
    /// At least one.
    pub signals: Vec<Signal>,
}

impl Device {
    /// A device with every setting at its default, and these signals.
    #[must_use]
    pub fn new(name: Name, line: Line, unit: u8, signals: Vec<Signal>) -> Self {
        Device {
            asset: name.clone(),
            name,
            line,
            unit,
            timeout: Duration::from_secs(1),
            overrun: Overrun::Skip,
            limits: Limits::default(),
            pipeline: 1,
            max_rate: None,
            check_unit: true,
            tolerance: Tolerance::default(),
            signals,
        }
    }
}
