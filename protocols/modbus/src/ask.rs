//! How one device is asked on its line: the one place from which the poller speaks.

use std::time::Duration;

use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::life::Answer;
use lineside_protocols::modbus::plan::Request;
use lineside_protocols::modbus::settings::{AfterException, Device};

use crate::failure::Failure;
use crate::link::{Ask, Link};

/// What every request to one device has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    unit: u8,
    check_unit: bool,
    after_exception: AfterException,
    pub(crate) pipeline: u8,
}

impl Manner {
    pub(crate) const fn new(device: &Device) -> Self {
        Manner {
            unit: device.unit,
            check_unit: device.check_unit,
            after_exception: device.tolerance.after_exception,
            pipeline: device.pipeline,
        }
    }

    pub(crate) async fn ask(&self, line: &mut Wire, request: &Request, limit: Duration) -> Result<Raw, Failure> {
        let result = line.link.read(&self.of(request, limit)).await;
        line.note(std::slice::from_ref(&result));
        result
    }

    /// All of them at once, as far as `pipeline` allows. In their order.
    pub(crate) async fn ask_all(
        &self,
        line: &mut Wire,
        requests: &[&Request],
        limit: Duration,
    ) -> Vec<Result<Raw, Failure>> {
        if let [request] = requests {
            return vec![self.ask(line, request, limit).await];
        }
        let asks: Vec<Ask<'_>> = requests.iter().map(|request| self.of(request, limit)).collect();
        let results = line.link.read_many(&asks, self.pipeline).await;
        line.note(&results);
        results
    }

    /// Whether a late reply of the device came since this was last asked.
    pub(crate) fn heard(&self, line: &mut Wire) -> bool {
        line.link.heard(self.unit)
    }

    const fn of<'a>(&self, request: &'a Request, limit: Duration) -> Ask<'a> {
        let Manner { unit, check_unit, after_exception, .. } = *self;
        Ask { unit, request, limit, check_unit, after_exception }
    }
}

/// The link, and whether it was in use when it was lost.
pub(crate) struct Wire {
    pub(crate) link: Link,
    /// Whether the last request on it was answered, by whichever unit.
    is_live: bool,
    /// Whether the connection was lost by the last requests themselves.
    broke: bool,
}

impl Wire {
    pub(crate) const fn new(link: Link) -> Self {
        Wire { link, is_live: false, broke: false }
    }

    fn note(&mut self, results: &[Result<Raw, Failure>]) {
        let answered = results.iter().any(|result| matches!(result, Ok(_) | Err(Failure::Exception(_))));
        let lost = results.iter().any(|result| matches!(result, Err(Failure::Connect(_))));
        self.broke = lost && (self.is_live || answered);
        self.is_live = answered && !lost;
    }

    /// What the last result says of the device. A unit that has its gateway close the connection is as much of a burden
    /// to the others as one that is silent; one that has no connection to be asked on is none.
    pub(crate) fn answer(&self, result: &Result<Raw, Failure>) -> Answer {
        match result {
            Ok(_) => Answer::Values,
            Err(Failure::Exception(code)) => Answer::Exception(*code),
            Err(Failure::Connect(_)) if !self.broke => Answer::NoConnection,
            Err(failure) => Answer::Silence(failure.reason()),
        }
    }
}
