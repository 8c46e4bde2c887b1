//! What a plan costs: requests a second, and the part of a serial line that they take. What is too much is decided by
//! `config`; nothing is slowed down here.

use super::plan::{Plan, Request};
use super::settings::{Device, Line, Serial, Transport};

/// What one device costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests a second.
    pub requests_per_second: f64,
    /// On a serial line, the part of its time that frames and pauses take, from 0; above 1 it cannot be done. The time
    /// that the device thinks before it answers is not known and not in it.
    pub line_share: Option<f64>,
}

impl Load {
    /// The cost of `plan` for `device`.
    #[must_use]
    pub fn of(device: &Device, plan: &Plan) -> Self {
        let share = |serial: &Serial, ascii: bool| {
            let poll = |poll: &super::plan::Poll| {
                let seconds: f64 = poll.requests.iter().map(|r| seconds(r, serial, ascii, &device.line)).sum();
                seconds / poll.every.as_secs_f64()
            };
            plan.polls.iter().map(poll).sum()
        };
        let line_share = match &device.line.transport {
            Transport::Rtu(serial) => Some(share(serial, false)),
            Transport::Ascii(serial) => Some(share(serial, true)),
            Transport::Tcp(_) | Transport::RtuOverTcp(_) => None,
        };
        Load { requests_per_second: plan.requests_per_second(), line_share }
    }
}

/// How long one request and its answer hold the line at least.
fn seconds(request: &Request, serial: &Serial, ascii: bool, line: &Line) -> f64 {
    let data = match request.table.is_bits() {
        true => f64::from(request.count.div_ceil(8)),
        false => 2.0 * f64::from(request.count),
    };
    // Without address and checksum a request has 5 bytes, an answer 2 and its data (Modbus Application Protocol
    // 1.1b3, 6.1-6.4).
    let (asked, answered) = (5.0, 2.0 + data);
    let (characters, silence) = match ascii {
        // A colon, two characters for each byte of address, message and LRC, CR and LF (MODBUS over Serial Line 1.02,
        // 2.5.2.1); no silence.
        true => ([asked, answered].map(|bytes| 3.0 + 2.0 * (bytes + 2.0)).iter().sum::<f64>(), 0.0),
        // An address, the message, two bytes of CRC, and silence before and after (2.5.1.1).
        false => ([asked, answered].map(|bytes| bytes + 3.0).iter().sum::<f64>(), 2.0 * serial.silence().as_secs_f64()),
    };
    let pauses = line.request_delay + serial.rts_before + serial.rts_after;
    characters * serial.character().as_secs_f64() + silence + pauses.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::modbus::plan::plan;
    use crate::modbus::settings::{Address, Layout, Order16, Parity, Signal, Table};

    fn serial(baud: u32) -> Serial {
        Serial {
            path: PathBuf::from("/dev/ttyS0"),
            baud,
            data_bits: 8,
            parity: Parity::Even,
            stop_bits: 1,
            rts_before: Duration::ZERO,
            rts_after: Duration::ZERO,
            frame_gap: None,
        }
    }

    /// Ten registers, once a second.
    fn device(transport: Transport) -> Device {
        let signal = |offset| {
            let address = Address { table: Table::HoldingRegister, offset };
            let name = format!("s{offset}").parse().unwrap();
            Signal::new(name, address, Layout::U16(Order16::AB), Duration::from_secs(1))
        };
        Device::new("d".parse().unwrap(), Line::new(transport), 1, (0..10).map(signal).collect())
    }

    fn share(device: &Device) -> f64 {
        Load::of(device, &plan(device)).line_share.unwrap()
    }

    #[test]
    fn mb15_a_request_takes_what_its_characters_and_its_silence_take() {
        // 8 bytes there, 25 back, 7 characters of silence: 40 characters of 11 bits at 9600 baud.
        let rtu = device(Transport::Rtu(serial(9600)));
        assert!((share(&rtu) - 40.0 * 11.0 / 9600.0).abs() < 1e-6);
        // 17 characters there, 51 back, of 10 bits (7E1).
        let ascii = device(Transport::Ascii(Serial { data_bits: 7, ..serial(9600) }));
        assert!((share(&ascii) - 68.0 * 10.0 / 9600.0).abs() < 1e-6);
        // Above 19 200 baud the silence is 1.75 ms.
        let fast = device(Transport::Rtu(serial(115_200)));
        assert!((share(&fast) - (33.0 * 11.0 / 115_200.0 + 0.0035)).abs() < 1e-6);
    }

    #[test]
    fn mb15_pauses_count_and_bits_are_eight_to_a_byte() {
        let mut paused = device(Transport::Rtu(Serial { rts_after: Duration::from_millis(5), ..serial(9600) }));
        let plain = share(&device(Transport::Rtu(serial(9600))));
        paused.line.request_delay = Duration::from_millis(20);
        assert!((share(&paused) - plain - 0.025).abs() < 1e-6);
        for signal in &mut paused.signals {
            signal.address.table = Table::Coil;
            signal.layout = Layout::Coil;
        }
        // 8 bytes there, 7 back for ten bits.
        assert!((share(&paused) - (22.0 * 11.0 / 9600.0 + 0.025)).abs() < 1e-6);
    }

    #[test]
    fn mb15_a_network_has_no_share() {
        let tcp = device(Line::tcp("10.1.1.7", 502).transport);
        assert_eq!(Load::of(&tcp, &plan(&tcp)), Load { requests_per_second: 1.0, line_share: None });
    }
}
