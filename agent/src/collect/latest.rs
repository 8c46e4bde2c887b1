//! What is known of every signal at this moment: its last value, and the quality of what was read last. As it was read,
//! reported or not. Bounded by the catalogue, shared with the local API; how it is shown is [`crate::status`]'s.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use lineside_protocols::clock::BootMillis;
use lineside_protocols::sample::{Quality, Scan, Value};

/// One signal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The last value that it had, and when that was read. It stays when what is read later is bad.
    pub value: Option<(Value, BootMillis)>,
    /// The quality of what was read last, and when; none before the first reading.
    pub quality: Option<(Quality, BootMillis)>,
}

/// The table of all signals. Cheap to clone: all clones are one table.
#[derive(Clone, Debug)]
pub struct Latest(Arc<Mutex<Vec<Known>>>);

impl Latest {
    /// Of so many signals, about which nothing is known yet.
    #[must_use]
    pub fn new(signals: usize) -> Self {
        Latest(Arc::new(Mutex::new(vec![Known::default(); signals])))
    }

    /// Takes note of a scan, under one lock.
    pub fn note(&self, scan: &Scan) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (signal, sample) in scan.columns.signals().zip(&scan.samples) {
            let Some(known) = table.get_mut(signal.0 as usize) else { continue };
            known.quality = Some((sample.quality(), scan.time));
            match (&mut known.value, sample.value()) {
                (_, None) => {}
                (Some((value, time)), Some(read)) => {
                    // A text that is as it was is not copied anew.
                    if value != read {
                        value.clone_from(read);
                    }
                    *time = scan.time;
                }
                (value @ None, Some(read)) => *value = Some((read.clone(), scan.time)),
            }
        }
    }

    /// A copy of these places of the catalogue, as far as there are any. The lock is held for as long as it takes: ask
    /// for a part of the table at a time.
    #[must_use]
    pub fn copy(&self, places: Range<usize>) -> Vec<Known> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = places.end.min(table.len());
        table.get(places.start.min(end)..end).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use lineside_protocols::sample::{Columns, Reason, Sample, SignalIndex};

    use super::*;

    fn scan(time: i64, samples: Vec<Sample>) -> Scan {
        let columns = Columns::new(0, [2, 0].map(SignalIndex));
        Scan { columns: Arc::new(columns), time: BootMillis(time), samples }
    }

    #[test]
    fn dm03_a_bad_signal_keeps_its_last_value_and_when_that_was_read() {
        let latest = Latest::new(3);
        let reader = latest.clone();
        latest.note(&scan(1, vec![Sample::good(Value::U16(7)), Sample::bad(Reason::ModbusTimeout)]));
        latest.note(&scan(2, vec![Sample::bad(Reason::DeviceLost), Sample::uncertain(Value::U8(9), Reason::Clamped)]));
        let at = BootMillis;
        let expected = [
            Known { value: Some((Value::U8(9), at(2))), quality: Some((Quality::Uncertain(Reason::Clamped), at(2))) },
            Known::default(),
            Known { value: Some((Value::U16(7), at(1))), quality: Some((Quality::Bad(Reason::DeviceLost), at(2))) },
        ];
        assert_eq!(reader.copy(0..3), expected);
        assert_eq!(reader.copy(1..2), expected[1..2]);
        assert_eq!((reader.copy(2..9).len(), reader.copy(9..20).len()), (1, 0));
        latest.note(&scan(3, vec![Sample::good(Value::U16(7)), Sample::good(Value::U8(1))]));
        assert_eq!(reader.copy(2..3)[0].value, Some((Value::U16(7), at(3))), "the same value, read anew");
    }
}
