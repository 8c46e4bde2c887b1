use proptest::prelude::*;

use super::*;
use crate::modbus::settings::Table;

/// 2026-11-26T12:34:56Z.
const NOW: UnixMillis = UnixMillis(1_795_696_496_000);

fn rows(registers: &[u16], configured: Option<Layout>) -> Vec<Row> {
    guess(&Raw::Registers(registers.to_vec()), &[0, 1, 2], configured, None, NOW)
}

/// What is plausible: where, what, and the value.
fn plausible(registers: &[u16]) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for row in rows(registers, None) {
        for (at, cell) in row.cells.iter().enumerate() {
            if let Some(cell) = cell.as_ref().filter(|cell| cell.plausible) {
                found.push((at, row.layout.to_string(), shown(cell.sample.value().unwrap())));
            }
        }
    }
    found
}

fn is_found(registers: &[u16], at: usize, layout: &str, value: &str) -> bool {
    plausible(registers).contains(&(at, layout.to_owned(), value.to_owned()))
}

#[test]
fn mb16_a_known_float_is_found_one_address_further_in_its_order() {
    // 12.3 = 0x4144CCCD; the register that was asked for holds a status, the one before nothing.
    let registers = [0, 0x8001, 0xCCCD, 0x4144, 0, 0];
    assert!(is_found(&registers, 2, "f32 CDAB", "12.3"), "{:?}", plausible(&registers));
    let floats: Vec<_> = plausible(&registers).into_iter().filter(|(_, layout, _)| layout.starts_with("f32")).collect();
    // The same four bytes backwards are a number as well: a person decides, who knows what the machine does.
    let backwards = (2, "f32 DCBA".to_owned(), "775.2156".to_owned());
    assert_eq!(floats, [(2, "f32 CDAB".to_owned(), "12.3".to_owned()), backwards]);
    // Control: without it nothing is.
    assert_eq!(
        plausible(&[0, 0x8001, 0, 0, 0, 0]).iter().filter(|(_, layout, _)| layout.starts_with("f32")).count(),
        0
    );
}

#[test]
fn mb16_every_kind_is_found_where_it_is() {
    let found = |registers: &[u16], at: usize, layout: &str, value: &str| {
        assert!(is_found(registers, at, layout, value), "{layout} = {value}: {:?}", plausible(registers));
    };
    found(&[0, 473, 0, 0, 0, 0], 1, "u16", "473");
    found(&[0, 0xFFFE, 0, 0, 0, 0], 1, "i16", "-2");
    found(&[0, 0x1234, 0, 0, 0, 0], 1, "bcd16", "1234");
    found(&[0, 0, 0xE240, 0x0001, 0, 0], 2, "u32 CDAB", "123456");
    found(&[0x3FB9, 0x9999, 0x9999, 0x999A, 0, 0], 0, "f64 ABCDEFGH", "0.1");
    found(&[0, 12, 3456, 0xFFFF, 0, 0], 1, "mod10k-32 high-first", "123456");
    found(&[0, 0x6B08, 0x2770, 0, 0, 0], 1, "epoch-s ABCD", "2026-11-26T12:34:56Z");
    found(&[0, 0x2611, 0x2612, 0x3456, 0, 0], 1, "bcd-time-6", "2026-11-26T12:34:56Z");
    found(&[0xFFFF, 0x5075, 0x6D70, 0x2037, 0, 0], 1, "string 6", "\"Pump 7\"");
    found(&[0, 0x0050, 0x0075, 0x006D, 0x0070, 0], 1, "string 6 char-low", "\"Pump\"");
    // A time to come is none that a machine has seen.
    assert!(!is_found(&[0, 0x2711, 0x2612, 0x3456, 0, 0], 1, "bcd-time-6", "2027-11-26T12:34:56Z"));
    assert_eq!(plausible(&[0; 6]), [], "zeros tell nothing");
}

#[test]
fn mb16_the_configured_layout_is_always_shown() {
    let bit = Layout::Bit(3, Order16::AB);
    let shown = rows(&[0, 8, 0, 0, 0, 0], Some(bit));
    assert_eq!((shown[0].layout, shown.len()), (bit, rows(&[0; 6], None).len() + 1));
    let f32 = Layout::F32(Order32::CDAB);
    assert_eq!(rows(&[0; 6], Some(f32)).iter().filter(|row| row.layout == f32).count(), 1);
    let bits = guess(&Raw::Bits(vec![true, false]), &[0, 1, 2], Some(Layout::Coil), None, NOW);
    assert_eq!(bits.len(), 1);
    assert!(bits[0].cells[1].is_some() && bits[0].cells[2].is_none());
}

#[test]
fn mb16_the_neighbours_are_asked_for_where_there_are_any() {
    let of = |offset: u16, width: u16, max_registers: u16| -> Vec<(u16, u16)> {
        let address = Address { table: Table::HoldingRegister, offset };
        let limits = Limits { max_registers, ..Limits::default() };
        windows(address, width, &limits).iter().map(|window| (window.first, window.count)).collect()
    };
    assert_eq!(of(100, 2, 125), [(99, 6), (99, 4), (99, 3), (100, 3), (100, 2)]);
    assert_eq!(of(100, 4, 125), [(99, 6), (99, 5), (100, 5), (100, 4)]);
    assert_eq!(of(0, 1, 125), [(0, 5), (0, 2), (0, 1)]);
    assert_eq!(of(65_535, 1, 125), [(65_534, 2), (65_535, 1)]);
    assert_eq!(of(100, 2, 4), [(99, 4), (99, 3), (100, 3), (100, 2)]);
    assert_eq!(of(100, 125, 125), [(100, 125)]);
    let coil = Address { table: Table::Coil, offset: 7 };
    let bits: Vec<_> = windows(coil, 1, &Limits::default());
    let window = |first, count| Window { first, count };
    assert_eq!(bits, [window(6, 3), window(6, 2), window(7, 2), window(7, 1)]);
}

proptest! {
    #[test]
    fn mb16_windows_lie_in_the_table_and_hold_what_was_asked_for(offset: u16, width in 1u16..=125, most in 1u16..=125) {
        prop_assume!(u32::from(offset) + u32::from(width) <= 65_536);
        let limits = Limits { max_registers: most, ..Limits::default() };
        let address = Address { table: Table::InputRegister, offset };
        let all = windows(address, width, &limits);
        prop_assert_eq!(all.last(), Some(&Window { first: offset, count: width }));
        for window in &all {
            let end = u32::from(window.first) + u32::from(window.count);
            prop_assert!(end <= 65_536 && window.first <= offset && end >= u32::from(offset) + u32::from(width));
            prop_assert!(window.count <= most.max(width));
        }
    }

    #[test]
    fn mb16_nothing_panics(registers: Vec<u16>, start in 0usize..20) {
        let rows = guess(&Raw::Registers(registers), &[start], None, None, NOW);
        prop_assert!(rows.len() > 50);
    }
}
