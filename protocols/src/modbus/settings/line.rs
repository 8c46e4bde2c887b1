//! What units share: the line that they are reached on. Who speaks on it is `protocols/modbus`.

use std::path::PathBuf;
use std::time::Duration;

/// How requests and answers travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide 1.0b).
    Tcp(Host),
    /// RTU frames, with their CRC, through a TCP connection: a serial server that knows nothing of Modbus.
    RtuOverTcp(Host),
    /// RTU on a serial line (MODBUS over Serial Line 1.02, 2.5.1).
    Rtu(Serial),
    /// ASCII on a serial line (MODBUS over Serial Line 1.02, 2.5.2).
    Ascii(Serial),
}

impl Transport {
    /// As the configuration calls it: `modbus-tcp`, `modbus-rtu-tcp`, `modbus-rtu`, `modbus-ascii`.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self {
            Transport::Tcp(_) => "modbus-tcp",
            Transport::RtuOverTcp(_) => "modbus-rtu-tcp",
            Transport::Rtu(_) => "modbus-rtu",
            Transport::Ascii(_) => "modbus-ascii",
        }
    }
}

/// Where a TCP connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Host name or IP address.
    pub host: String,
    /// TCP port, 502 where the address names none.
    pub port: u16,
}

/// A serial line and its settings (MODBUS over Serial Line 1.02, 2.5 and 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The device file, `/dev/ttyS0` for example.
    pub path: PathBuf,
    /// Bits a second. Default 19 200.
    pub baud: u32,
    /// 7 (ASCII only) or 8. Default 8.
    pub data_bits: u8,
    /// Default even, as the specification asks.
    pub parity: Parity,
    /// 1 or 2. Default 1; without parity the specification asks for 2.
    pub stop_bits: u8,
    /// RS-485: how long RTS is on before the first byte of a request. Default 0. Where both are 0, RTS is not switched.
    pub rts_before: Duration,
    /// RS-485: how long RTS stays on behind the last byte. Default 0.
    pub rts_after: Duration,
    /// Silence between two frames; `None` is t3.5 of the specification: 3.5 characters, above 19 200 baud 1.75 ms.
    pub frame_gap: Option<Duration>,
}

impl Serial {
    /// How long one character takes: start bit, data, parity, stop bits (MODBUS over Serial Line 1.02, 2.5.1 and 2.5.2).
    #[must_use]
    pub fn character(&self) -> Duration {
        let parity = u32::from(self.parity != Parity::None);
        let bits = 1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits);
        Duration::from_secs_f64(f64::from(bits) / f64::from(self.baud.max(1)))
    }

    /// The silence between two RTU frames: `frame_gap`, or t3.5 (MODBUS over Serial Line 1.02, 2.5.1.1: 3.5 characters,
    /// above 19 200 baud 1.75 ms).
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.frame_gap.unwrap_or_else(|| match self.baud {
            0..=19_200 => self.character().mul_f64(3.5),
            _ => Duration::from_micros(1750),
        })
    }
}

/// The parity bit of a character on a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Parity {
    None,
    #[default]
    Even,
    Odd,
}

/// The line to one `host:port` or serial device, shared by all its units: one connection, one request in flight unless
/// a device asks for `pipeline`. Units that disagree about it are refused by `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is reached.
    pub transport: Transport,
    /// Longest wait for a connection. Default 3 s.
    pub connect_timeout: Duration,
    /// Pause between connecting and the first request. Default 0.
    pub connect_pause: Duration,
    /// Pause between an answer and the next request. Default 0.
    pub request_delay: Duration,
    /// The connection is closed when nothing was asked for so long, and opened again with the next request. Default off.
    pub idle_close: Option<Duration>,
    /// First wait before connecting again. Default 500 ms.
    pub reconnect_min: Duration,
    /// Longest wait before connecting again. Default 30 s.
    pub reconnect_max: Duration,
}

impl Line {
    /// A line with every setting at its default.
    #[must_use]
    pub const fn new(transport: Transport) -> Self {
        Line {
            transport,
            connect_timeout: Duration::from_secs(3),
            connect_pause: Duration::ZERO,
            request_delay: Duration::ZERO,
            idle_close: None,
            reconnect_min: Duration::from_millis(500),
            reconnect_max: Duration::from_secs(30),
        }
    }

    /// A Modbus TCP line with every setting at its default.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Line::new(Transport::Tcp(Host { host: host.into(), port }))
    }

    /// What units share a line by: `host:port`, with brackets around an IPv6 address, or the path of the serial device.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.transport {
            Transport::Tcp(at) | Transport::RtuOverTcp(at) => at.address(),
            Transport::Rtu(serial) | Transport::Ascii(serial) => serial.path.display().to_string(),
        }
    }
}

impl Host {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        let Host { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}
