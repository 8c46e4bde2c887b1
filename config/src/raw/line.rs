//! Values of the line that a device is reached on, and of what it may be asked: serial settings, the budget of requests.
//! What must fit together is in [`crate::check::line`].

use std::path::PathBuf;
use std::time::Duration;

use lineside_protocols::modbus::settings::{AfterException, Parity};
use schemars::{Schema, json_schema};

use super::field::{Any, Field, Leaf};
use super::quantity::{Interval, S};
use super::text::{Choice, FilePath};
use crate::later;
use crate::problem::Fault;

/// The protocol of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    ModbusTcp,
    ModbusRtuTcp,
    ModbusRtu,
    ModbusAscii,
}

impl Protocol {
    /// Whether the device hangs on a serial line of this gateway.
    pub(crate) const fn is_serial(self) -> bool {
        matches!(self, Protocol::ModbusRtu | Protocol::ModbusAscii)
    }

    /// The word of the configuration.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }
}

impl Choice for Protocol {
    const ALL: &'static [(&'static str, Self)] = &[
        ("modbus-tcp", Protocol::ModbusTcp),
        ("modbus-rtu-tcp", Protocol::ModbusRtuTcp),
        ("modbus-rtu", Protocol::ModbusRtu),
        ("modbus-ascii", Protocol::ModbusAscii),
    ];
    const LATER: &'static [&'static str] = &later::PROTOCOLS;
    const WHAT: &'static str = "a protocol";
}

impl Choice for Parity {
    const ALL: &'static [(&'static str, Self)] =
        &[("even", Parity::Even), ("odd", Parity::Odd), ("none", Parity::None)];
    const WHAT: &'static str = "a parity";
}

impl Choice for AfterException {
    const ALL: &'static [(&'static str, Self)] =
        &[("go-on", AfterException::GoOn), ("discard", AfterException::Discard)];
    const WHAT: &'static str = "a rule for what follows an exception";
}

/// The device file of a serial line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SerialPath;

impl Leaf for SerialPath {
    type Value = PathBuf;

    fn schema() -> Schema {
        json_schema!({"type": "string", "pattern": "^/", "maxLength": 4096, "x-type": "device file"})
    }

    fn read(any: &Any) -> Result<PathBuf, Fault> {
        let text = any.text("a device file", "\"/dev/ttyS0\"")?;
        if !text.starts_with('/') {
            let help = "write its whole path, as in \"/dev/ttyS0\"; the names in /dev/serial/by-path/ stay the same \
                        when an adapter is plugged in again";
            return Err(Fault::new(format!("`{text}` is no device file"), help));
        }
        FilePath::read(any)
    }
}

/// Bits a second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Baud;

/// What termios(3) names from 300 on, and what drivers of industrial adapters take beside that.
const BAUDS: [u32; 32] = [
    300, 600, 1_200, 1_800, 2_400, 4_800, 7_200, 9_600, 14_400, 19_200, 28_800, 31_250, 38_400, 56_000, 57_600, 76_800,
    115_200, 128_000, 187_500, 230_400, 250_000, 256_000, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000,
    1_500_000, 2_000_000, 3_000_000, 4_000_000,
];

impl Baud {
    pub(crate) fn usual() -> Field<Self> {
        Field::default_of(19_200)
    }
}

impl Leaf for Baud {
    type Value = u32;

    fn schema() -> Schema {
        let range = "the usual rates, 300 – 4000000";
        json_schema!({"type": "integer", "enum": BAUDS, "x-type": "integer", "x-range": range})
    }

    fn read(any: &Any) -> Result<u32, Fault> {
        let Any::Integer(number) = any else { return Err(any.instead_of("a number of bits a second", "9600")) };
        if let Some(baud) = BAUDS.into_iter().find(|baud| i128::from(*baud) == *number) {
            return Ok(baud);
        }
        let zero = BAUDS.map(i128::from).into_iter().find(|baud| number.checked_mul(10) == Some(*baud) || baud * 10 == *number);
        let help = match zero {
            Some(baud) => format!("did you mean {baud}? write the rate that the device is set to"),
            None => "write the rate that the device is set to: 9600, 19200, 38400, 57600, 115200".to_owned(),
        };
        Err(Fault::new(format!("no driver of a serial line has {number} bits a second"), help))
    }

    fn show(value: &u32) -> serde_json::Value {
        (*value).into()
    }
}

/// Silence between two frames; `auto` is t3.5.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FrameGap;

impl FrameGap {
    pub(crate) fn auto() -> Field<Self> {
        Field::default_of(None)
    }
}

impl Leaf for FrameGap {
    type Value = Option<Duration>;

    fn schema() -> Schema {
        json_schema!({
            "type": "string", "pattern": "^(auto|[0-9]+(ms|s))$", "x-type": "duration", "x-range": "`auto`, 1ms – 1s",
        })
    }

    fn read(any: &Any) -> Result<Option<Duration>, Fault> {
        match any {
            Any::Text(text) if text == "auto" => Ok(None),
            other => Interval::<1, S>::read(other)
                .map(Some)
                .map_err(|fault| Fault { help: format!("{}, or \"auto\"", fault.help), ..fault }),
        }
    }

    fn show(value: &Option<Duration>) -> serde_json::Value {
        value.map_or_else(|| "auto".to_owned(), super::quantity::show_duration).into()
    }
}

/// Requests a second, or `off`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MaxRate;

impl MaxRate {
    pub(crate) fn off() -> Field<Self> {
        Field::default_of(None)
    }
}

impl Leaf for MaxRate {
    type Value = Option<f64>;

    fn schema() -> Schema {
        json_schema!({
            "anyOf": [{"const": "off"}, {"type": "number", "minimum": 0.01, "maximum": 10_000}],
            "x-type": "number or `off`", "x-range": "`off`, 0.01 – 10000",
        })
    }

    fn read(any: &Any) -> Result<Option<f64>, Fault> {
        if *any == Any::Text("off".to_owned()) {
            return Ok(None);
        }
        let rate = any.number().ok_or_else(|| any.instead_of("a number of requests a second, or \"off\",", "10"))?;
        if (0.01..=10_000.0).contains(&rate) {
            return Ok(Some(rate));
        }
        Err(Fault::new(format!("{rate} is not in the range"), "choose from 0.01 to 10000 requests a second, or \"off\""))
    }

    fn show(value: &Option<f64>) -> serde_json::Value {
        value.map_or_else(|| "off".into(), Into::into)
    }
}

/// What is added to addresses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegisterOffset;

impl RegisterOffset {
    pub(crate) fn none() -> Field<Self> {
        Field::default_of(0)
    }
}

impl Leaf for RegisterOffset {
    type Value = i32;

    fn schema() -> Schema {
        let range = "-65535 – 65535";
        json_schema!({"type": "integer", "minimum": -65535, "maximum": 65535, "x-type": "integer", "x-range": range})
    }

    fn read(any: &Any) -> Result<i32, Fault> {
        let Any::Integer(number) = any else { return Err(any.instead_of("an integer", "100")) };
        let offset = i32::try_from(*number).ok().filter(|offset| (-65_535..=65_535).contains(offset));
        offset.ok_or_else(|| Fault::new(format!("{number} is not in the range"), "choose from -65535 to 65535"))
    }

    fn show(value: &i32) -> serde_json::Value {
        (*value).into()
    }
}

/// What [`crate::expand`] works with before the rest is read: it is there, and was judged there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template;

impl Leaf for Template {
    type Value = ();

    fn schema() -> Schema {
        json_schema!({"type": "string", "minLength": 1, "x-type": "name"})
    }

    fn read(_: &Any) -> Result<(), Fault> {
        Ok(())
    }
}

/// As [`Template`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variables;

impl Leaf for Variables {
    type Value = ();

    fn schema() -> Schema {
        json_schema!({
            "type": "object", "x-type": "table of values",
            "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
        })
    }

    fn read(_: &Any) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mb14_a_rate_is_one_that_drivers_have() {
        assert_eq!(Baud::read(&Any::Integer(9600)), Ok(9600));
        let fault = Baud::read(&Any::Integer(96_000)).unwrap_err();
        assert!(fault.help.contains("did you mean 9600?"), "{}", fault.help);
        for bad in [0, -9600, 9601, 110, 5_000_000] {
            assert!(Baud::read(&Any::Integer(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn mb15_a_budget_is_a_rate_or_off() {
        assert_eq!(MaxRate::read(&Any::Text("off".to_owned())), Ok(None));
        assert_eq!(MaxRate::read(&Any::Integer(5)), Ok(Some(5.0)));
        for bad in [Any::Integer(0), Any::Float(f64::NAN), Any::Float(f64::INFINITY), Any::Text("5".to_owned())] {
            assert!(MaxRate::read(&bad).is_err(), "{bad:?}");
        }
    }
}
