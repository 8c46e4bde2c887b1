//! Times, against dates that `date -u -d … +%s` gave.

use jiff::tz::Offset;

use super::*;
use crate::sample::UnixMillis;

fn at(layout: Layout, registers: &[u16], zone: TimeZone) -> Sample {
    decode(&Signal { timezone: zone, ..signal(layout) }, registers)
}

fn utc(layout: Layout, registers: &[u16]) -> Sample {
    at(layout, registers, TimeZone::UTC)
}

fn time(millis: i64) -> Sample {
    Sample::good(Value::Time(UnixMillis(millis)))
}

/// Central Europe by its rule, so that no database is needed.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

const SIX: Layout = Layout::BcdTime6(WordOrder::HighFirst);
const EIGHT: Layout = Layout::BcdTime8(WordOrder::HighFirst);
const BAD: Sample = Sample::bad(Reason::DecodeTime);

#[test]
fn mb04_every_order_of_every_time_by_hand() {
    use Layout::{BcdTime6, BcdTime8, EpochMs, EpochS};
    use WordOrder::LowFirst;
    // 2026-11-26T12:34:56Z = 1795696496 = 0x6B082770
    let seconds = 1_795_696_496_000;
    let millis = 1_795_696_496_789;
    for order in ORDERS32 {
        assert_eq!(
            utc(EpochS(order), &registers(&format!("{order:?}"), &[0x6B, 0x08, 0x27, 0x70])),
            time(seconds),
            "{order:?}"
        );
    }
    for order in ORDERS64 {
        let sent = registers(&format!("{order:?}"), &1_795_696_496_789u64.to_be_bytes());
        assert_eq!(utc(EpochMs(order), &sent), time(millis), "{order:?}");
    }
    assert_eq!(utc(SIX, &[0x2611, 0x2612, 0x3456]), time(seconds));
    assert_eq!(utc(BcdTime6(LowFirst), &[0x3456, 0x2612, 0x2611]), time(seconds));
    assert_eq!(utc(EIGHT, &[0x2611, 0x2612, 0x3456, 0x7895]), time(millis));
    assert_eq!(utc(BcdTime8(LowFirst), &[0x7895, 0x3456, 0x2612, 0x2611]), time(millis));
    // The examples of the manuals: Siemens (a Saturday with the weekday 5, Thursday), Mitsubishi, and Panasonic but
    // for its date, 31 June.
    assert_eq!(utc(EIGHT, &[0x9312, 0x2508, 0x1234, 0x5675]), time(756_807_154_567));
    assert_eq!(utc(SIX, &[0x8707, 0x3110, 0x3548]), time(3_710_486_148_000), "by the window of years: 2087");
    assert_eq!(utc(BcdTime6(LowFirst), &[0x0000, 0x3112, 0x0505]), time(1_117_540_800_000));
}

#[test]
fn mb04_a_date_that_no_calendar_has_is_bad() {
    for good in [[0x2402, 0x2923, 0x5959], [0x0001, 0x0100, 0x0000], [0x8912, 0x3123, 0x5959], [0x9001, 0x0100, 0x0000]]
    {
        assert!(utc(SIX, &good).is_good(), "{good:x?}");
    }
    for nonsense in [
        [0x2502, 0x2900, 0x0000],
        [0x2600, 0x0100, 0x0000],
        [0x2613, 0x0100, 0x0000],
        [0x2604, 0x3100, 0x0000],
        [0x2601, 0x0000, 0x0000],
        [0x2601, 0x0124, 0x0000],
        [0x2601, 0x0100, 0x6000],
        [0x2601, 0x0100, 0x0060],
        [0x2601, 0x0100, 0x000A],
        [0x2A01, 0x0100, 0x0000],
        [0xA601, 0x0100, 0x0000],
        [0x0000, 0x0000, 0x0000],
        [0xFFFF, 0xFFFF, 0xFFFF],
    ] {
        assert_eq!(utc(SIX, &nonsense), BAD, "{nonsense:x?}");
        let [a, b, c] = nonsense;
        assert_eq!(utc(EIGHT, &[a, b, c, 0]), BAD, "{nonsense:x?}");
    }
    assert_eq!(utc(EIGHT, &[0x2601, 0x0100, 0x0000, 0x9A01]), BAD);
    assert_eq!(utc(EIGHT, &[0x2601, 0x0100, 0x0000, 0x99A1]), BAD);
    assert!(utc(EIGHT, &[0x2601, 0x0100, 0x0000, 0x999F]).is_good(), "the weekday is not looked at");
    assert_eq!(utc(Layout::EpochMs(Order64::ABCDEFGH), &[0xFFFF; 4]), BAD);
    assert_eq!(utc(Layout::EpochMs(Order64::ABCDEFGH), &[0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF]), BAD);
    assert_eq!(utc(Layout::EpochS(Order32::ABCD), &[0xFFFF, 0xFFFF]), time(4_294_967_295_000));
    assert_eq!(utc(SIX, &[0x2601, 0x0100]), Sample::bad(Reason::ModbusFrame));
}

#[test]
fn mb04_a_local_time_that_the_zone_has_never_or_twice_is_bad() {
    // On 29 March 2026 the clocks go from 02:00 to 03:00, on 25 October from 03:00 back to 02:00.
    assert_eq!(at(SIX, &[0x2603, 0x2901, 0x5959], berlin()), time(1_774_745_999_000));
    assert_eq!(at(SIX, &[0x2603, 0x2902, 0x0000], berlin()), BAD);
    assert_eq!(at(SIX, &[0x2603, 0x2902, 0x5959], berlin()), BAD);
    assert_eq!(at(SIX, &[0x2603, 0x2903, 0x0000], berlin()), time(1_774_746_000_000));
    assert_eq!(at(SIX, &[0x2610, 0x2501, 0x5959], berlin()), time(1_792_886_399_000));
    assert_eq!(at(SIX, &[0x2610, 0x2502, 0x0000], berlin()), BAD);
    assert_eq!(at(SIX, &[0x2610, 0x2502, 0x5959], berlin()), BAD);
    assert_eq!(at(SIX, &[0x2610, 0x2503, 0x0000], berlin()), time(1_792_893_600_000));
    let fixed = TimeZone::fixed(Offset::from_seconds(3600).unwrap());
    assert_eq!(at(SIX, &[0x2610, 0x2502, 0x5959], fixed.clone()), time(1_792_893_599_000));
    assert_eq!(at(SIX, &[0x2603, 0x2902, 0x0000], fixed), time(1_774_746_000_000));
}

#[test]
fn mb04_an_epoch_counts_on_the_devices_own_clock() {
    let epoch = Layout::EpochS(Order32::ABCD);
    let sent = registers("ABCD", &1_795_696_496u32.to_be_bytes());
    assert_eq!(at(epoch, &sent, TimeZone::UTC), time(1_795_696_496_000));
    assert_eq!(at(epoch, &sent, berlin()), time(1_795_692_896_000));
    let summer = registers("ABCD", &1_784_000_000u32.to_be_bytes());
    assert_eq!(at(epoch, &summer, berlin()), time(1_783_992_800_000));
}
