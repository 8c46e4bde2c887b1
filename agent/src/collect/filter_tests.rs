use std::time::Duration;

use lineside_protocols::sample::{Reason, Value};

use super::*;

const LOST: Sample = Sample::bad(Reason::DeviceLost);

fn good(value: u16) -> Sample {
    Sample::good(Value::U16(value))
}

fn on_change() -> Reporting {
    Reporting { on_change: true, ..Reporting::default() }
}

/// A request that reads the signals 10, 11, 12, in this order.
fn scan(time: i64, samples: [Sample; 3]) -> Scan {
    let columns = Columns::new(7, (10..13).map(SignalIndex));
    Scan { columns: Arc::new(columns), time: BootMillis(time), samples: samples.into() }
}

/// Signals 10, 11 and 12 with these settings, behind ten without.
fn filter(settings: [Reporting; 3]) -> Filter {
    Filter::new([Reporting::default(); 10].into_iter().chain(settings))
}

/// What passes, in one word: the grid's signals, or `whole`; then the list's.
fn passed(filter: &mut Filter, time: i64, samples: [Sample; 3]) -> (String, Vec<u32>) {
    let numbers = |signals: &[(usize, SignalIndex)]| {
        assert!(signals.iter().all(|(place, signal)| *place + 10 == signal.0 as usize));
        signals.iter().map(|(_, signal)| signal.0).collect::<Vec<_>>()
    };
    match filter.pass(&scan(time, samples)) {
        Passed::Whole => ("whole".to_owned(), vec![]),
        Passed::Apart(list) => ("apart".to_owned(), numbers(list)),
        Passed::Parts { grid, list } => {
            let grid = grid.map(|grid| {
                let signals: Vec<u32> = grid.columns.signals().map(|signal| signal.0).collect();
                assert!(grid.places.iter().zip(&signals).all(|(place, signal)| place + 10 == *signal as usize));
                assert_ne!(grid.columns.id, 7, "two sets of columns, two ids");
                format!("{signals:?}")
            });
            (grid.unwrap_or_default(), numbers(list))
        }
    }
}

fn whole() -> (String, Vec<u32>) {
    ("whole".to_owned(), vec![])
}

#[test]
fn without_settings_a_scan_stays_as_it_is() {
    let mut filter = filter([Reporting::default(); 3]);
    for time in 0..3 {
        assert_eq!(passed(&mut filter, time, [good(1), good(1), Sample::bad(Reason::ModbusTimeout)]), whole());
    }
    assert_eq!(filter.held_back(), 0);
}

#[test]
fn dm04_signals_with_settings_leave_the_grid_and_the_others_stay() {
    let mut filter = filter([Reporting::default(), on_change(), Reporting::default()]);
    assert_eq!(passed(&mut filter, 0, [good(1), good(1), good(1)]), ("[10, 12]".to_owned(), vec![11]));
    assert_eq!(passed(&mut filter, 1, [good(1), good(1), good(1)]), ("[10, 12]".to_owned(), vec![]));
    assert_eq!(passed(&mut filter, 2, [good(1), good(2), good(1)]), ("[10, 12]".to_owned(), vec![11]));
    assert_eq!(filter.held_back(), 1);
}

#[test]
fn dm04_where_all_signals_have_settings_there_is_no_grid_and_often_nothing() {
    let mut filter = filter([on_change(); 3]);
    let nowhere = String::new;
    assert_eq!(passed(&mut filter, 0, [good(1), good(1), good(1)]), (nowhere(), vec![10, 11, 12]));
    assert_eq!(passed(&mut filter, 1, [good(1), good(1), good(1)]), (nowhere(), vec![]));
    assert_eq!(passed(&mut filter, 2, [good(2), good(1), good(2)]), (nowhere(), vec![10, 12]));
    assert_eq!(filter.held_back(), 4);
}

#[test]
fn dm03_a_lost_device_is_told_once_by_each_signal_whatever_its_settings() {
    let slow = Reporting { min_interval: Duration::from_secs(3600), ..on_change() };
    for settings in [[Reporting::default(); 3], [slow; 3], [Reporting::default(), slow, on_change()]] {
        let mut filter = filter(settings);
        let mut all = |samples: [Sample; 3]| {
            let (grid, list) = passed(&mut filter, 0, samples);
            let in_grid = if grid == "whole" { 3 } else { grid.matches("1").count() };
            assert_ne!(grid, "apart");
            in_grid + list.len()
        };
        assert_eq!(all([good(1), good(1), good(1)]), 3);
        assert_eq!(all([LOST, LOST, LOST]), 3);
        for _ in 0..5 {
            assert_eq!(all([LOST, LOST, LOST]), 0);
        }
        assert_eq!(all([good(1), good(1), good(1)]), 3, "back, and said so at once");
        assert_eq!(all([LOST, LOST, LOST]), 3, "lost again");
        assert_eq!(filter.held_back(), 15);
    }
}

#[test]
fn dm03_signals_of_one_scan_may_be_lost_one_after_the_other() {
    let mut filter = filter([Reporting::default(); 3]);
    assert_eq!(passed(&mut filter, 0, [LOST, good(1), good(1)]), whole());
    let apart = |list| ("apart".to_owned(), list);
    assert_eq!(passed(&mut filter, 1, [LOST, good(1), LOST]), apart(vec![11, 12]));
    assert_eq!(passed(&mut filter, 2, [LOST, LOST, LOST]), apart(vec![11]));
    assert_eq!(passed(&mut filter, 3, [LOST, LOST, LOST]), (String::new(), vec![]));
    assert_eq!(passed(&mut filter, 4, [good(1), LOST, good(1)]), apart(vec![10, 12]));
    assert_eq!(passed(&mut filter, 5, [good(1), good(1), good(1)]), whole());
    assert_eq!(passed(&mut filter, 6, [good(1), good(1), good(1)]), whole());
}

#[test]
fn what_may_not_have_arrived_is_told_again() {
    let mut filter = filter([Reporting::default(), on_change(), on_change()]);
    passed(&mut filter, 0, [LOST, good(1), LOST]);
    assert_eq!(passed(&mut filter, 1, [LOST, good(1), LOST]), (String::new(), vec![]));
    filter.forget();
    assert_eq!(passed(&mut filter, 2, [LOST, good(1), LOST]), ("[10]".to_owned(), vec![11, 12]));
}
