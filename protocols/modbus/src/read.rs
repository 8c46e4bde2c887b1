//! One read of everything, with raw content and timing, for `lineside read`. No schedule, no sink, no retries.

use std::time::Duration;

use lineside_protocols::modbus::decode::{Decoder, Raw};
use lineside_protocols::modbus::plan::{Plan, Request};
use lineside_protocols::modbus::settings::{Device, Line};
use lineside_protocols::sample::Sample;

use crate::failure::Failure;
use crate::link::{Ask, Link};

/// One request, and what came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What was asked for.
    pub request: Request,
    /// From sending to the last byte of the answer, without connecting; zero where there was no connection.
    pub elapsed: Duration,
    /// What the device sent, before decoding.
    pub result: Result<Raw, Failure>,
    /// One for each of `request.signals`, in that order.
    pub samples: Vec<Sample>,
}

/// Connects to `device` and asks each request of `plan` once, which is a plan of this device. To read some of its
/// signals only, plan a device that has only those.
///
/// Takes at most `connect_timeout` and `timeout` for each request.
pub async fn read_once(device: &Device, plan: &Plan) -> Vec<Attempt> {
    // There is nothing to wait for: whoever asks once wants to know now.
    let line = Line { reconnect_min: Duration::ZERO, reconnect_max: Duration::ZERO, ..device.line.clone() };
    let mut link = Link::new(line);
    let mut attempts = Vec::new();
    for request in plan.requests() {
        let ask = Ask {
            unit: device.unit,
            request,
            limit: device.timeout,
            check_unit: device.check_unit,
            after_exception: device.tolerance.after_exception,
        };
        let result = link.read(&ask).await;
        let samples = request.signals.iter().filter_map(|at| device.signals.get(*at)).map(|signal| match &result {
            Ok(raw) => {
                let entry = signal.address.offset.saturating_sub(request.first);
                Decoder::new(signal).decode(raw, entry.into())
            }
            Err(failure) => Sample::bad(failure.reason()),
        });
        attempts.push(Attempt { samples: samples.collect(), request: request.clone(), elapsed: link.took(), result });
    }
    attempts
}

#[cfg(test)]
mod tests {
    use lineside_protocols::modbus::plan::plan;
    use lineside_protocols::sample::Reason;

    use super::*;
    use crate::testing::*;

    #[tokio::test]
    async fn every_request_is_tried_once_with_its_raw_content() {
        let responder = Responder::start(|ask| match ask.first {
            0 => Act::Send(ask.exception(4)),
            3 => Act::Ignore,
            _ => Act::Send(ask.good()),
        });
        let device = device(responder.address, vec![holding(5), holding(3), holding(0), holding(6)]);
        let attempts = soon(read_once(&device, &plan(&device))).await;
        let results: Vec<_> = attempts.iter().map(|a| (a.request.to_string(), a.result.clone())).collect();
        assert_eq!(
            results,
            [
                ("holding:0".into(), Err(Failure::Exception(4))),
                ("holding:3".into(), Err(Failure::Timeout(device.timeout))),
                ("holding:5-6".into(), Ok(Raw::Registers(vec![5, 6]))),
            ]
        );
        assert_eq!(reason(&attempts[0].samples[0]), Some(Reason::ModbusException(4)));
        assert_eq!(attempts[2].samples, [register(5), register(6)]);
        assert!(attempts[1].elapsed >= device.timeout && attempts[2].elapsed > Duration::ZERO);
        assert_eq!(responder.connections(), 1, "a silence costs no connection");
    }

    #[tokio::test]
    async fn without_a_connection_every_request_says_so() {
        let device = device(free_port().await, vec![holding(0), holding(9)]);
        let attempts = soon(read_once(&device, &plan(&device))).await;
        assert!(attempts.iter().all(|a| matches!(a.result, Err(Failure::Connect(_))) && a.elapsed.is_zero()));
        assert_eq!(attempts.len(), 2);
    }
}
