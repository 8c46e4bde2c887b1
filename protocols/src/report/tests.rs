use proptest::prelude::*;

use super::*;
use crate::sample::UnixMillis;

const EACH: Reporting =
    Reporting { deadband: None, on_change: false, min_interval: Duration::ZERO, max_interval: None };
const LOST: Sample = Sample::bad(Reason::DeviceLost);
const TIMEOUT: Sample = Sample::bad(Reason::ModbusTimeout);

fn within(band: f64) -> Reporting {
    Reporting { deadband: Some(DeadBand::Absolute(band)), ..EACH }
}

fn percent(part: f64) -> Reporting {
    Reporting { deadband: Some(DeadBand::Percent(part)), ..EACH }
}

/// Which of `samples`, read at these times, are reported: their places.
fn reported_at(reporting: &Reporting, samples: impl IntoIterator<Item = (i64, Sample)>) -> Vec<usize> {
    let mut last = None;
    let decide = |(at, (now, sample)): (usize, (i64, Sample))| {
        let report = decide(reporting, last.as_ref(), &sample, BootMillis(now)) == Decision::Report;
        if report {
            last = Some(Last::new(&sample, BootMillis(now)));
        }
        report.then_some(at)
    };
    samples.into_iter().enumerate().filter_map(decide).collect()
}

/// The same for good values, one a second.
fn reported(reporting: &Reporting, values: impl IntoIterator<Item = Value>) -> Vec<usize> {
    reported_at(reporting, (0..).map(|second| second * 1000).zip(values.into_iter().map(Sample::good)))
}

fn f64s<const N: usize>(values: [f64; N]) -> [Value; N] {
    values.map(Value::F64)
}

#[test]
fn dm04_by_default_each_reading_is_reported() {
    assert_eq!(reported(&EACH, f64s([1.0, 1.0, 1.0])), [0, 1, 2]);
    assert_eq!(reported_at(&EACH, [(0, TIMEOUT), (1, TIMEOUT)]), [0, 1]);
}

#[test]
fn dm04_on_change_counts() {
    let on_change = Reporting { on_change: true, ..EACH };
    let states = [false, false, true, true, false].map(Value::Bool);
    assert_eq!(reported(&on_change, states.clone()), [0, 2, 4]);
    assert_eq!(reported(&within(5.0), states), [0, 2, 4], "a dead band implies it");
    let texts = ["a", "a", "b"].map(|text| Value::String(text.into()));
    assert_eq!(reported(&on_change, texts.clone()), [0, 2]);
    assert_eq!(reported(&within(5.0), texts), [0, 2]);
    let times = [0, 1, 1].map(|at| Value::Time(UnixMillis(at)));
    assert_eq!(reported(&within(5.0), times), [0, 1], "a time has no unit that a band could be in");
    let states = [(1, "run"), (1, "run"), (2, "stop")].map(|(n, name)| Value::Enum(Box::new((n, name.into()))));
    assert_eq!(reported(&within(5.0), states), [0, 2]);
}

#[test]
fn dm04_a_dead_band_is_around_the_value_reported_last() {
    let values = f64s([20.0, 20.5, 20.6, 20.1, 21.1, 21.2, 20.5]);
    assert_eq!(reported(&within(0.5), values), [0, 2, 5, 6], "20.0 | 20.6 | 21.2 | 20.5; exactly the band is inside");
    // A creep of a hundredth each second: reported as soon as it has gone further than the band.
    let creep = (0..=100).map(|step| Value::F64(f64::from(step) / 100.0));
    assert_eq!(reported(&within(0.25), creep), [0, 26, 52, 78]);
}

#[test]
fn dm04_a_band_in_percent_is_of_the_value_reported_last_whatever_its_sign() {
    assert_eq!(reported(&percent(0.01), f64s([100.0, 101.0, 101.1, 102.1, 102.2])), [0, 2, 4], "101.1 ± 1.011");
    assert_eq!(reported(&percent(0.01), f64s([-100.0, -101.0, -101.5, -100.5])), [0, 2]);
    assert_eq!(reported(&percent(0.01), f64s([0.0, 0.0, 1e-9, 1e-9, 0.0])), [0, 2, 4], "of 0 any change");
    assert_eq!(reported(&percent(0.03), [100, 103, 104, 101, 100].map(Value::I32)), [0, 2, 4], "103 is exactly 3 %");
}

#[test]
fn dm04_a_band_of_nothing_is_on_change() {
    for reporting in [within(0.0), percent(0.0)] {
        assert_eq!(reported(&reporting, f64s([1.0, 1.0, 1.0 + f64::EPSILON, 1.0])), [0, 2, 3]);
        assert_eq!(reported(&reporting, [7, 7, 8].map(Value::U16)), [0, 2]);
    }
}

#[test]
fn dm04_integers_of_64_bits_are_compared_exactly() {
    let most = u64::MAX;
    assert_eq!(reported(&within(1.0), [most - 2, most - 1, most, most - 1, most - 2].map(Value::U64)), [0, 2, 4]);
    assert_eq!(reported(&within(1.5), [most - 2, most - 1, most].map(Value::U64)), [0, 2]);
    assert_eq!(reported(&within(1e300), [i64::MIN, i64::MAX].map(Value::I64)), [0]);
    assert_eq!(reported(&within(0.0), [i64::MIN, i64::MAX].map(Value::I64)), [0, 1]);
    // 1 % of 10^19 is 10^17; neither is near enough to an f64 for the next integer to be told from it.
    let whole = 10_000_000_000_000_000_000;
    let percent = percent(0.01);
    assert_eq!(reported(&percent, [whole, whole + whole / 100].map(Value::U64)), [0]);
    assert_eq!(reported(&percent, [whole, whole + whole / 100 + 1].map(Value::U64)), [0, 1]);
}

#[test]
fn an_array_moves_with_its_elements() {
    let array = |elements: &[i32]| Value::Array(elements.iter().map(|n| Value::I32(*n)).collect());
    let arrays = [array(&[1, 2]), array(&[2, 3]), array(&[2, 4]), array(&[2, 4, 5])];
    assert_eq!(reported(&within(1.0), arrays), [0, 2, 3]);
}

#[test]
fn dm04_min_interval_holds_back_values_and_loses_no_final_state() {
    let reporting = Reporting { on_change: true, min_interval: Duration::from_secs(3), ..EACH };
    let values = [1, 2, 3, 4, 4, 4, 5, 5, 5, 5].map(Value::U8);
    assert_eq!(reported(&reporting, values), [0, 3, 6], "5 is reported when the interval is over, at 6 s");
    let values = [1, 2, 1, 1, 1].map(Value::U8);
    assert_eq!(reported(&reporting, values), [0], "back where it was, there is nothing to report");
    let each = Reporting { min_interval: Duration::from_secs(3), ..EACH };
    assert_eq!(reported(&each, [1, 1, 1, 1, 1, 1, 1].map(Value::U8)), [0, 3, 6]);
}

#[test]
fn dm04_a_change_of_quality_or_reason_goes_at_once() {
    let reporting = Reporting { min_interval: Duration::from_secs(3600), ..within(1000.0) };
    let good = || Sample::good(Value::U16(7));
    let doubtful = || Sample::uncertain(Value::U16(7), Reason::Clamped);
    let bad = || Sample::bad(Reason::ModbusException(4));
    let samples = [good(), doubtful(), doubtful(), bad(), bad(), TIMEOUT, good(), good()];
    assert_eq!(reported_at(&reporting, (0..).zip(samples)), [0, 1, 3, 5, 6]);
}

#[test]
fn dm03_a_lost_device_is_told_once_and_its_return_at_once() {
    let good = || Sample::good(Value::U16(7));
    let slow = Reporting { on_change: true, min_interval: Duration::from_secs(3600), ..EACH };
    for reporting in [EACH, slow, within(1.0)] {
        let samples = [good(), LOST, LOST, LOST, LOST, good()];
        assert_eq!(reported_at(&reporting, (0..).zip(samples)), [0, 1, 5]);
        assert_eq!(reported_at(&reporting, (0..).zip([LOST, LOST, TIMEOUT, LOST, LOST])), [0, 2, 3]);
    }
    let beating = Reporting { max_interval: Some(Duration::from_secs(2)), ..EACH };
    let each_second = (0..).map(|second| second * 1000);
    assert_eq!(reported_at(&beating, each_second.zip([LOST, LOST, LOST, LOST, LOST])), [0, 2, 4]);
}

#[test]
fn dm04_the_heartbeat_comes_with_the_first_poll_that_finds_it_over() {
    let beat = Reporting { max_interval: Some(Duration::from_millis(2500)), ..within(100.0) };
    assert_eq!(reported(&beat, (0..10).map(|_| Value::U16(7))), [0, 3, 6, 9]);
    let bad = (0..10).map(|second| (second * 1000, TIMEOUT));
    assert_eq!(reported_at(&beat, bad), [0, 3, 6, 9], "bad readings have one too");
    let with_changes = [7, 7, 7, 7, 900, 900, 900, 900].map(Value::U16);
    assert_eq!(reported(&beat, with_changes), [0, 3, 4, 7], "it counts from the report before it");
}

#[test]
fn times_at_both_ends_of_the_clock_do_no_harm() {
    let reporting = Reporting { min_interval: Duration::MAX, max_interval: Some(Duration::MAX), ..EACH };
    let good = || Sample::good(Value::U16(7));
    assert_eq!(reported_at(&reporting, [(i64::MIN, good()), (i64::MAX, good()), (i64::MIN, good())]), [0]);
}

/// A value in tenths, as decimal as a display shows it: an `f64` or `f32` next to it, or an integer.
fn value(kind: u8, tenths: i32) -> Value {
    match kind {
        0 => Value::F64(f64::from(tenths) / 10.0),
        #[expect(clippy::cast_possible_truncation, reason = "the nearest is meant")]
        1 => Value::F32((f64::from(tenths) / 10.0) as f32),
        _ => Value::I64(i64::from(tenths) * 1_000_000_000_000),
    }
}

/// One reading of the model: milliseconds after the one before, and tenths, or the reason why there are none.
type Read = (i64, Result<i32, u8>);

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let sample = prop_oneof![8 => (-30..30).prop_map(Ok), 1 => (0..3_u8).prop_map(Err)];
    proptest::collection::vec((1..40_i64, sample), 1..120)
}

fn sample(kind: u8, read: Result<i32, u8>) -> Sample {
    match read {
        Ok(tenths) => Sample::good(value(kind, tenths)),
        Err(0) => LOST,
        Err(code) => Sample::bad(Reason::ModbusException(code)),
    }
}

/// What is held to the rule: settings in the model's own units.
#[derive(Clone, Copy, Debug)]
struct Model {
    band: Option<i32>,
    percent: Option<i32>,
    on_change: bool,
    least: i64,
    most: Option<i64>,
}

fn models() -> impl Strategy<Value = Model> {
    let bands = prop_oneof![
        Just((None, None)),
        (0..20).prop_map(|band| (Some(band), None)),
        (0..100).prop_map(|percent| (None, Some(percent))),
    ];
    let most = proptest::option::of(50..400_i64);
    (bands, any::<bool>(), prop_oneof![Just(0), 1..50_i64], most)
        .prop_map(|((band, percent), on_change, least, most)| Model { band, percent, on_change, least, most })
}

impl Model {
    fn reporting(&self, kind: u8) -> Reporting {
        let unit = if kind > 1 { 1e13 } else { 1.0 };
        let absolute = self.band.map(|band| DeadBand::Absolute(f64::from(band) * unit / 10.0));
        let percent = self.percent.map(|percent| DeadBand::Percent(f64::from(percent) / 100.0));
        Reporting {
            deadband: absolute.or(percent),
            on_change: self.on_change,
            min_interval: Duration::from_millis(self.least.unsigned_abs()),
            max_interval: self.most.map(|most| Duration::from_millis(most.unsigned_abs())),
        }
    }

    /// The places of what is reported, the slow and plain way: looking back over everything that was, in whole tenths.
    fn reported(&self, reads: &[Read]) -> Vec<usize> {
        let mut time = 0;
        let history: Vec<(i64, Result<i32, u8>)> = reads
            .iter()
            .map(|(wait, read)| {
                time += wait;
                (time, *read)
            })
            .collect();
        let mut reported: Vec<usize> = Vec::new();
        for (at, (now, read)) in history.iter().enumerate() {
            let Some((then, before)) = reported.last().map(|&at| history[at]) else {
                reported.push(at);
                continue;
            };
            let elapsed = now - then;
            let same_quality = match (before, read) {
                (Ok(_), Ok(_)) => true,
                (Err(one), Err(other)) => one == *other,
                _ => false,
            };
            let wanted = match (before, *read) {
                _ if !same_quality => true,
                _ if self.most.is_some_and(|most| elapsed >= most) => true,
                (Err(0), Err(0)) => false,
                (Ok(_), Ok(_)) if elapsed < self.least => false,
                (Ok(from), Ok(to)) => match (self.band, self.percent) {
                    (Some(band), _) => (to - from).abs() > band,
                    (_, Some(percent)) => (to - from).abs() * 100 > from.abs() * percent,
                    _ => !self.on_change || to != from,
                },
                _ => self.band.is_none() && self.percent.is_none() && !self.on_change,
            };
            if wanted {
                reported.push(at);
            }
        }
        reported
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Also where the values are floating-point numbers: a decision is the one that a person makes who sees decimals.
    #[test]
    fn dm04_the_rule_is_what_the_plain_model_says(model in models(), kind in 0..3_u8, reads in reads()) {
        let mut time = 0;
        let timed = reads.iter().map(|(wait, read)| {
            time += wait;
            (time, sample(kind, *read))
        });
        prop_assert_eq!(reported_at(&model.reporting(kind), timed.collect::<Vec<_>>()), model.reported(&reads));
    }

    /// Whoever draws the value reported last is never further off than the band.
    #[test]
    fn dm04_no_value_is_further_from_the_one_reported_last_than_the_band(
        whole in 0..1_000_000_u32,
        part in 0.0..1.0_f64,
        values in proptest::collection::vec(any::<i64>(), 1..50),
        steps in proptest::collection::vec(-2e6..2e6_f64, 1..50),
    ) {
        let band = f64::from(whole) + part;
        let places = reported(&within(band), values.iter().copied().map(Value::I64));
        for (at, value) in values.iter().enumerate() {
            let last = values[*places.iter().rfind(|place| **place <= at).unwrap()];
            prop_assert!(at == 0 || i128::from(*value).abs_diff(last.into()) <= whole.into());
        }
        let places = reported(&within(band), steps.iter().copied().map(Value::F64));
        for (at, value) in steps.iter().enumerate() {
            let last = steps[*places.iter().rfind(|place| **place <= at).unwrap()];
            prop_assert!((value - last).abs() <= band + f64::EPSILON * (value.abs() + last.abs()));
        }
    }

    /// Between two reports there is never more than the heartbeat and one poll.
    #[test]
    fn dm04_the_heartbeat_is_never_late_by_more_than_one_poll(model in models(), reads in reads()) {
        let Some(most) = model.most else { return Ok(()) };
        let mut time = 0;
        let timed: Vec<(i64, Sample)> = reads.iter().map(|(wait, read)| {
            time += wait;
            (time, sample(0, *read))
        }).collect();
        let places = reported_at(&model.reporting(0), timed.clone());
        let longest_poll = reads.iter().map(|(wait, _)| *wait).max().unwrap_or_default();
        for pair in places.windows(2) {
            prop_assert!(timed[pair[1]].0 - timed[pair[0]].0 < most + longest_poll);
        }
        let (last, end) = (timed[*places.last().unwrap()].0, timed.last().unwrap().0);
        prop_assert!(end - last < most);
    }
}
