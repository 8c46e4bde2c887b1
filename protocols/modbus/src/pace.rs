//! The pauses of a line: what its settings and its kind ask for. Who keeps them is [`crate::connection`].

use std::time::Duration;

use lineside_protocols::modbus::frame::{frame_gap, transmit_time};
use lineside_protocols::modbus::settings::{Line, Serial, Transport};

/// Between two frames of RTU through TCP. The serial server keeps t3.5 on its own line; this is more than t3.5 at
/// 9600 baud, for one that sends bytes on as they come.
const GAP_ON_TCP: Duration = Duration::from_millis(5);
/// A line is quiet when nothing came for so long: USB adapters hand over what they have each 16 ms.
pub(crate) const QUIET: Duration = Duration::from_millis(20);
/// The same through TCP, where segments may wait for each other.
const QUIET_ON_TCP: Duration = Duration::from_millis(50);
/// The pauses of a line.
pub(crate) struct Pace {
    /// A connection that can be dead without saying so.
    pub(crate) on_tcp: bool,
    /// Between an answer and the next request.
    pub(crate) request_delay: Duration,
    /// Between the last byte and the next request.
    pub(crate) gap: Duration,
    /// Silence after which nothing more is on its way.
    pub(crate) quiet: Duration,
    serial: Option<Serial>,
}

impl Pace {
    pub(crate) fn new(line: &Line) -> Self {
        let request_delay = line.request_delay;
        match &line.transport {
            Transport::Tcp(_) => {
                Pace { on_tcp: true, request_delay, gap: Duration::ZERO, quiet: Duration::ZERO, serial: None }
            }
            Transport::RtuOverTcp(_) => {
                Pace { on_tcp: true, request_delay, gap: GAP_ON_TCP, quiet: QUIET_ON_TCP, serial: None }
            }
            Transport::Rtu(serial) | Transport::Ascii(serial) => {
                let gap = frame_gap(serial);
                Pace { on_tcp: false, request_delay, gap, quiet: QUIET.max(gap), serial: Some(serial.clone()) }
            }
        }
    }

    /// How long RTS is on before the first and behind the last byte.
    pub(crate) fn rts(&self) -> (Duration, Duration) {
        self.serial.as_ref().map_or((Duration::ZERO, Duration::ZERO), |serial| (serial.rts_before, serial.rts_after))
    }

    /// Whether switching the RS-485 driver is ours.
    pub(crate) fn switches_rts(&self) -> bool {
        let (before, after) = self.rts();
        !before.is_zero() || !after.is_zero()
    }

    /// How long so many bytes are on the line; on TCP that is not ours to know.
    pub(crate) fn transmit_time(&self, bytes: usize) -> Duration {
        self.serial.as_ref().map_or(Duration::ZERO, |serial| transmit_time(serial, bytes))
    }
}
