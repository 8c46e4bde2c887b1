//! Single cases: how each form is written, what is refused and with which words, and where the limits are.

use std::sync::Arc;

use super::{OFFSET, Step, block_of, catalogue, encode, identity, readings_of, seal, seal_at};
use crate::clock::{BootMillis, ClockOffset};
use crate::sample::{Columns, Reading, Reason, Sample, Scan, SignalIndex, UnixMillis, Value};
use crate::wire::block::{FULL_BYTES, ReadingsBlock, events_block};
use crate::wire::catalogue::Catalogue;
use crate::wire::decode::{DecodeError, Line, ReadingError, TableError};
use crate::wire::identity::Lane;
use crate::wire::notice::{GapReason, gap_line, quarantined_line};
use crate::wire::slice::{SliceError, slice};

/// A grid of three columns and two rows, and a list of two: every form that a block has.
fn example() -> (Catalogue, Vec<u8>) {
    let kinds = ["f32", "bool", "u16", "enum"].map(|kind| kind.parse().unwrap());
    let catalogue = catalogue(&kinds);
    let columns = Arc::new(Columns::new(7, [0, 1, 2].map(SignalIndex)));
    let start = 1_795_400_000_000;
    let mut block = ReadingsBlock::new(4096);
    let failed = Sample::bad(Reason::ModbusException(4));
    for (time, pressure, third) in [(0, 12.3, failed), (1000, 12.4, Sample::good(Value::U16(7)))] {
        let samples = vec![Sample::good(Value::F32(pressure)), Sample::good(Value::Bool(true)), third];
        let time = OFFSET.boot(UnixMillis(start + time));
        block.push_scan(&Scan { columns: Arc::clone(&columns), time, samples });
    }
    for (signal, time, value) in [(3, 15, Value::Enum(Box::new((1, "open".into())))), (0, 3, Value::F32(88.1))] {
        let time = UnixMillis(start + time);
        block.push_reading(&Reading { signal: SignalIndex(signal), time, sample: Sample::good(value) });
    }
    let line = seal(&mut block, &catalogue);
    assert!(block.is_empty());
    (catalogue, line)
}

const TABLES: &str = r#""tables":[{"signals":[[0,2]],"t":[0,1000],"v":[12.3,12.4,true,true,null,7],"q":[[2,2,0,0,"bad","modbus:exception:4"]]},{"s":[0,3],"t":[3,12],"v":[88.1,[1,"open"]]}]}"#;

#[test]
fn the_tables_are_written_as_the_format_says() {
    let (_, line) = example();
    let line = String::from_utf8(line).unwrap();
    assert!(line.ends_with(TABLES), "{line}");
    assert!(line.contains(r#""lane":"readings","first":1001,"count":8,"boot":"7c7c"#), "{line}");
}

#[test]
fn a_cut_through_columns_makes_three_grids() {
    let (_, line) = example();
    let cut = String::from_utf8(slice(&line, 1002, 1005).unwrap()).unwrap();
    let tables = [
        r#"{"signals":[[0,0]],"t":[1000],"v":[12.4]}"#,
        r#"{"signals":[[1,1]],"t":[0,1000],"v":[true,true]}"#,
        r#"{"signals":[[2,2]],"t":[0],"v":[null],"q":[[0,0,0,0,"bad","modbus:exception:4"]]}"#,
    ];
    assert!(cut.contains(r#""first":1002,"count":4,"#), "{cut}");
    assert!(cut.ends_with(&format!(r#""tables":[{}]}}"#, tables.join(","))), "{cut}");
    let last = String::from_utf8(slice(&line, 1008, 1008).unwrap()).unwrap();
    assert!(last.ends_with(r#""tables":[{"s":[3],"t":[15],"v":[[1,"open"]]}]}"#), "{last}");
}

#[test]
fn server_and_agent_times_are_read_and_sliced() {
    let (catalogue, line) = example();
    let line = String::from_utf8(line).unwrap();
    let line = line.replace(r#""t":[0,1000],"#, r#""t":[0,1000],"ts":[-5,998],"#);
    let line = line.replace(r#""t":[3,12],"#, r#""t":[3,12],"ta":[30,-10],"#);
    let after = |time: UnixMillis| time.0 - 1_795_400_000_000;
    let times = |line: &[u8]| -> Vec<_> {
        let readings = readings_of(line, &catalogue);
        readings.iter().map(|r| [r.reading.time, r.server_time, r.agent_time].map(after)).collect()
    };
    let all = times(line.as_bytes());
    assert_eq!(all[..2], [[0, -5, 0], [1000, 998, 1000]]);
    assert_eq!(all[6..], [[3, 3, 30], [15, 15, 20]]);
    assert_eq!(times(&slice(line.as_bytes(), 1002, 1008).unwrap()), all[1..]);
    assert_eq!(times(&slice(line.as_bytes(), 1008, 1008).unwrap()), all[7..]);
}

#[test]
fn a_block_ties_its_times_to_the_boot_clock_and_so_does_a_slice() {
    let (catalogue, line) = example();
    assert_eq!(block_of(&line).offset(), Some(OFFSET));
    let cut = slice(&line, 1004, 1008).unwrap();
    assert_eq!(block_of(&cut).offset(), Some(OFFSET));

    let older = String::from_utf8(line).unwrap().replace(r#""mono":1000000,"#, "");
    assert_eq!(block_of(older.as_bytes()).offset(), None);
    assert_eq!(slice(older.as_bytes(), 1001, 1008).unwrap(), older.as_bytes(), "what was stored is sent as it is");
    assert_eq!(readings_of(older.as_bytes(), &catalogue).len(), 8);
}

#[test]
fn a_clock_in_1970_or_before_is_a_clock() {
    let catalogue = catalogue(&["u16".parse().unwrap()]);
    for offset in [0, -3_600_000, i64::MIN] {
        let mut block = ReadingsBlock::new(4096);
        let columns = Arc::new(Columns::new(0, [SignalIndex(0)]));
        for time in [12_000, 11_000] {
            let samples = vec![Sample::good(Value::U16(1))];
            block.push_scan(&Scan { columns: Arc::clone(&columns), time: BootMillis(time), samples });
        }
        let line = seal_at(&mut block, &catalogue, ClockOffset(offset));
        let times: Vec<_> = readings_of(&line, &catalogue).iter().map(|received| received.reading.time.0).collect();
        assert_eq!(times, [12_000, 11_000].map(|time| time + offset), "in the order in which they came");
        assert_eq!(block_of(&line).offset(), Some(ClockOffset(offset)));
    }
}

#[test]
fn events_are_sliced_like_readings() {
    let events: Vec<String> = (77..82).map(|n| format!(r#"{{"id":"b4:{n}","data":{{"list":[1,"a,]"]}}}}"#)).collect();
    let line = events_block(&identity(), 77, &events);
    let cut = slice(&line, 78, 80).unwrap();
    assert_eq!(cut, events_block(&identity(), 78, &events[1..4]));
    let block = block_of(&cut);
    assert_eq!((block.lane(), block.first(), block.last()), (Lane::Events, 78, 80));
    assert_eq!(block.events(), &events[1..4]);
}

#[test]
fn only_numbers_of_the_block_can_be_cut() {
    let (_, line) = example();
    for (first, last) in [(1000, 1003), (1003, 1009), (1004, 1003), (0, u64::MAX)] {
        assert!(matches!(slice(&line, first, last), Err(SliceError::Outside { from: 1001, to: 1008, .. })));
    }
    let gap = gap_line(&identity(), Lane::Readings, 1, 2, GapReason::Damaged);
    assert!(matches!(slice(&gap, 1, 2), Err(SliceError::NoBlock)));
}

#[test]
fn notices_read_back() {
    for reason in GapReason::ALL {
        let line = gap_line(&identity(), Lane::Events, 1, u64::MAX, reason);
        let Line::Gap(gap) = Line::decode(&line).unwrap() else { panic!() };
        assert_eq!(
            (gap.identity, gap.lane, gap.first, gap.last, gap.reason),
            (identity(), Lane::Events, 1, u64::MAX, reason)
        );
    }
    let line = quarantined_line(&identity(), Lane::Readings, 5, 5, &"\"é".repeat(300));
    let Line::Quarantined(quarantined) = Line::decode(&line).unwrap() else { panic!() };
    assert_eq!((quarantined.first, quarantined.last, quarantined.reason), (5, 5, "\"é".repeat(170) + "\""));
}

/// Changes one place of the example, which must be there, and says what a reader makes of it.
fn error(from: &str, to: &str) -> DecodeError {
    let (catalogue, line) = example();
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains(from), "{from} is not in {line}");
    let line = line.replacen(from, to, 1);
    match Line::decode(line.as_bytes()) {
        Ok(Line::Block(block)) => block.readings(&catalogue).unwrap_err(),
        Ok(other) => panic!("{other:?}"),
        Err(error) => error,
    }
}

#[test]
fn what_does_not_agree_is_refused_with_its_place() {
    use DecodeError as E;
    use TableError as T;
    assert!(matches!(error(r#"{"block":1"#, r#"{"block":2"#), E::Version { kind: "block", version: 2 }));
    assert!(matches!(error(r#"{"block""#, r#"{"blocks""#), E::Kind { .. }));
    assert!(matches!(error(r#""first":1001"#, r#""first":0"#), E::Numbers { .. }));
    assert!(matches!(error(r#""first":1001"#, r#""first":18446744073709551615"#), E::Numbers { .. }));
    assert!(matches!(error(r#""count":8"#, r#""count":0"#), E::Numbers { .. }));
    assert!(matches!(error(r#""count":8"#, r#""count":9"#), E::Count { said: 9, found: 8 }));
    assert!(matches!(error(r#""t0":1795400000000,"#, ""), E::Missing { member: "t0", .. }));
    assert!(matches!(error(r#""tables""#, r#""events":[],"tables""#), E::Unexpected { member: "events", .. }));
    assert!(matches!(error(r#""clock":"synced""#, r#""clock":"fine""#), E::Unknown(_)));
    assert!(matches!(error(r#""catalogue":""#, r#""colour":1,"catalogue":""#), E::Json(_)));

    let table = |from, to| match error(from, to) {
        E::Table { table, problem } => (table, problem),
        other => panic!("{other:?}"),
    };
    assert!(matches!(table("[[0,2]]", "[[0,3]]"), (0, T::Length { member: "v", expected: 8, found: 6 })));
    assert!(matches!(table("[[0,2]]", "[[2,0]]"), (0, T::Range { first: 2, last: 0 })));
    assert!(matches!(table("[[0,2]]", "[[0,4294967295],[0,4294967295]]"), (0, T::Length { .. })));
    assert!(matches!(table(r#""v":[12.3,12.4,true,true,null,7]"#, r#""v":12"#), (0, T::Values)));
    assert!(matches!(table(r#""t":[0,1000],"v":[12.3,12.4,true,true,null,7]"#, r#""t":[],"v":[]"#), (0, T::Empty)));
    assert!(matches!(table(r#"{"s":[0,3],"#, "{"), (1, T::Form)));
    assert!(matches!(table(r#""s":[0,3]"#, r#""s":[0]"#), (1, T::Length { member: "s", .. })));
    assert!(matches!(table(r#""t":[3,12]"#, r#""t":[3,-1]"#), (1, T::Time { member: "t" })));
    assert!(matches!(table(r#""t":[3,12]"#, r#""t":[3,12],"ts":[3]"#), (1, T::Length { member: "ts", .. })));
    assert!(matches!(table(r#""t":[3,12]"#, r#""t":[3,9223372036854775807]"#), (1, T::Time { member: "t" })));
    assert!(matches!(table("[2,2,0,0,", "[2,3,0,0,"), (0, T::Area { at: 0 })));
    assert!(matches!(table("[2,2,0,0,", "[2,2,1,0,"), (0, T::Area { at: 0 })));
    assert!(matches!(table("[2,2,0,0,", "[2,2,"), (0, T::Quality(_))));
    assert!(matches!(table(r#""bad""#, r#""worse""#), (0, T::Words { at: 0, .. })));
    assert!(matches!(table("exception:4", "exception:256"), (0, T::Words { at: 0, .. })));
    let twice = r#""q":[[0,2,0,1,"bad","modbus:timeout"],[2,2,0,0,"#;
    assert!(matches!(table(r#""q":[[2,2,0,0,"#, twice), (0, T::Overlap { at: 1 })));

    let reading = |from, to| match error(from, to) {
        E::Reading { number, table, place, problem } => (number, table, place, problem),
        other => panic!("{other:?}"),
    };
    assert!(matches!(reading(",7]", ",7.5]"), (1006, 0, 5, ReadingError::Value { signal: 2, .. })));
    assert!(matches!(reading("null", "6"), (1005, 0, 4, ReadingError::BadValue(2))));
    assert!(matches!(reading(r#""s":[0,3]"#, r#""s":[0,4]"#), (1008, 1, 1, ReadingError::Signal(4))));
}

#[test]
fn a_block_is_read_with_its_own_catalogue_only() {
    let (_, line) = example();
    let other = catalogue(&["f32".parse().unwrap()]);
    assert!(matches!(block_of(&line).readings(&other), Err(DecodeError::OtherCatalogue { .. })));
}

#[test]
fn a_failed_request_costs_one_rectangle_and_so_does_a_dead_device() {
    let columns = Arc::new(Columns::new(0, (0..100).map(SignalIndex)));
    for rows in [1, 3] {
        let mut block = ReadingsBlock::new(4096);
        for row in 0..rows {
            let samples = vec![Sample::bad(Reason::ModbusTimeout); 100];
            block.push_scan(&Scan { columns: Arc::clone(&columns), time: BootMillis(row), samples });
        }
        let line = String::from_utf8(seal(&mut block, &catalogue(&[]))).unwrap();
        let expected = format!(r#""q":[[0,99,0,{},"bad","modbus:timeout"]]}}]}}"#, rows - 1);
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[test]
fn a_block_says_what_still_fits() {
    let columns = Arc::new(Columns::new(0, (0..60).map(SignalIndex)));
    let scan = Scan { columns, time: BootMillis(0), samples: vec![Sample::good(Value::U16(1)); 60] };
    let mut block = ReadingsBlock::new(100);
    assert!(block.fits(1000), "an empty block takes a scan of any width");
    block.push_scan(&scan);
    assert_eq!((block.len(), block.fits(40), block.fits(41)), (60, true, false));

    let mut block = ReadingsBlock::new(100);
    let long = Sample::good(Value::String("x".repeat(FULL_BYTES).into()));
    block.push_reading(&Reading { signal: SignalIndex(0), time: UnixMillis(0), sample: long });
    assert!(!block.fits(1), "long values fill a block too");
}

#[test]
fn json_that_is_none_becomes_a_bad_reading() {
    let catalogue = catalogue(&["json".parse().unwrap()]);
    let sample = Sample::good(Value::Json("{\"a\":".into()));
    let steps = [Step::Single(Reading { signal: SignalIndex(0), time: UnixMillis(0), sample })];
    let readings = readings_of(&encode(&steps, &catalogue), &catalogue);
    assert_eq!(readings[0].reading.sample, Sample::bad(Reason::DecodeType));
}

#[test]
fn a_block_is_empty_after_it_was_sealed() {
    let (catalogue, line) = example();
    let mut block = ReadingsBlock::new(4096);
    let readings = readings_of(&line, &catalogue);
    let again = |block: &mut ReadingsBlock| {
        readings.iter().for_each(|received| block.push_reading(&received.reading));
        seal(block, &catalogue)
    };
    assert_eq!(again(&mut block), again(&mut block));
}
