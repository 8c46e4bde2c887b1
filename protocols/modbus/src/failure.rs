//! Why a request gave no values, worded for whoever stands at the gateway, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::sample::Reason;

/// Why a request gave no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The device refused (Modbus Application Protocol 1.1b3, section 7).
    #[error("exception {0}: {hint}", hint = exception(*.0))]
    Exception(u8),
    /// No answer within this time.
    #[error("no answer within {0:?}; check the unit id, and whether another master keeps the device busy")]
    Timeout(Duration),
    /// No connection, or it was lost before the answer.
    #[error("{0}")]
    Connect(Arc<str>),
    /// An answer that does not fit the request. Its content is not used.
    #[error("the answer does not fit the request: {0}")]
    Frame(Box<str>),
}

impl Failure {
    /// What the readings say.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Failure::Exception(code) => Reason::ModbusException(*code),
            Failure::Timeout(_) => Reason::ModbusTimeout,
            Failure::Connect(_) => Reason::ModbusConnect,
            Failure::Frame(_) => Reason::ModbusFrame,
        }
    }

    /// Whether the device itself spoke. A gateway's 10 and 11 say that it could not reach the device.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Failure::Exception(code) if !matches!(code, 10 | 11))
    }
}

fn exception(code: u8) -> &'static str {
    match code {
        1 => "illegal function; this device does not have this table",
        2 => "illegal data address; the device does not have all of these, compare with its manual (we count from 0)",
        3 => "illegal data value; the device does not give so many at once, lower max_registers or max_bits",
        4 => "device failure; look at the device's own diagnostics",
        5 => "acknowledge; the device needs longer for this",
        6 => "device busy; poll it less often",
        8 => "memory parity error; look at the device's own diagnostics",
        10 => "gateway path unavailable; the gateway is misconfigured or overloaded",
        11 => "the device behind the gateway does not answer; check its unit id, power and wiring",
        _ => "a code of the manufacturer's own, see the device's manual",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_device_said_itself_is_an_answer() {
        for code in 0..=u8::MAX {
            let failure = Failure::Exception(code);
            assert_eq!(failure.is_answer(), code != 10 && code != 11);
            assert_eq!(failure.reason(), Reason::ModbusException(code));
        }
        for failure in [Failure::Timeout(Duration::ZERO), Failure::Connect("".into()), Failure::Frame("".into())] {
            assert!(!failure.is_answer());
        }
    }
}
