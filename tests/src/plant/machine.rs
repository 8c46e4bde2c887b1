//! What machines show: each value a function of the time that the plant has been running, so that a demo looks alive
//! and a test knows what it must read.

use std::f64::consts::TAU;
use std::time::Duration;

/// One of the four tables (Modbus Application Protocol 1.1b3, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
    /// Function 3.
    Holding,
    /// Function 4.
    Input,
}

impl Table {
    /// As the agent's configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }
}

/// Anything that has registers. A closure is one: `|table, address, time| Some(address)`.
pub trait Machine: Send + Sync {
    /// The register's content, or 0 or 1 for a bit; `None` where the machine has no such address.
    fn read(&self, table: Table, address: u16, time: Duration) -> Option<u16>;
}

impl<F: Fn(Table, u16, Duration) -> Option<u16> + Send + Sync> Machine for F {
    fn read(&self, table: Table, address: u16, time: Duration) -> Option<u16> {
        self(table, address, time)
    }
}

/// How a value lies in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One coil or discrete input; true from 0.5.
    Bit,
    /// One register.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, the high word first.
    U32,
    /// IEEE 754 in two registers, the low word first (`CDAB`).
    F32Cdab,
}

impl Format {
    /// `type` and `order` as the agent's configuration writes them.
    #[must_use]
    pub const fn configuration(self) -> (&'static str, Option<&'static str>) {
        match self {
            Format::Bit => ("bool", None),
            Format::U16 => ("u16", None),
            Format::I16 => ("i16", None),
            Format::U32 => ("u32", Some("ABCD")),
            Format::F32Cdab => ("f32", Some("CDAB")),
        }
    }

    const fn width(self) -> u16 {
        match self {
            Format::Bit | Format::U16 | Format::I16 => 1,
            Format::U32 | Format::F32Cdab => 2,
        }
    }

    /// The content of the first and the second register.
    fn words(self, value: f64) -> [u16; 2] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, as a PLC does")]
        let (bits, swapped) = match self {
            Format::Bit => (u32::from(value >= 0.5) << 16, false),
            Format::U16 => (u32::from(value.round() as u16) << 16, false),
            Format::I16 => (u32::from((value.round() as i16).cast_unsigned()) << 16, false),
            Format::U32 => (value as u32, false),
            Format::F32Cdab => ((value as f32).to_bits(), true),
        };
        let [a, b, c, d] = bits.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if swapped { [low, high] } else { [high, low] }
    }
}

/// One value of a machine: where it lies and how it moves.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// A name to configure it under.
    pub name: &'static str,
    /// In which table.
    pub table: Table,
    /// Its first address, from 0.
    pub address: u16,
    /// How it lies there.
    pub format: Format,
    /// What the raw value is to be multiplied by to give the value; 1 where it needs no scaling.
    pub scale: f64,
    /// UCUM unit of the value, empty where it has none.
    pub unit: &'static str,
    /// The value after this many seconds.
    pub value: fn(f64) -> f64,
}

/// A machine made of points; every other address is illegal.
#[derive(Clone, Copy, Debug)]
pub struct Points(pub &'static [Point]);

impl Machine for Points {
    fn read(&self, table: Table, address: u16, time: Duration) -> Option<u16> {
        let point = self.0.iter().find(|point| {
            point.table == table
                && (point.address..point.address.saturating_add(point.format.width())).contains(&address)
        })?;
        let words = point.format.words((point.value)(time.as_secs_f64()) / point.scale);
        words.get(usize::from(address - point.address)).copied()
    }
}

const fn point(name: &'static str, table: Table, address: u16, format: Format, value: fn(f64) -> f64) -> Point {
    Point { name, table, address, format, scale: 1.0, unit: "", value }
}

impl Point {
    const fn in_unit(self, unit: &'static str) -> Self {
        Point { unit, ..self }
    }

    const fn scaled(self, scale: f64) -> Self {
        Point { scale, ..self }
    }
}

/// Seconds that one stroke of the press takes: close, hold, open, wait.
const STROKE: f64 = 8.0;

fn stroke(s: f64) -> f64 {
    s.rem_euclid(STROKE)
}

fn pressure(s: f64) -> f64 {
    match stroke(s) {
        closing if closing < 2.0 => 4.0 + 88.0 * closing,
        holding if holding < 5.0 => 180.0 + 1.5 * (holding * 9.0).sin(),
        opening if opening < 6.0 => 180.0 - 176.0 * (opening - 5.0),
        _ => 4.0,
    }
}

/// A hydraulic press.
pub const PRESS: Points = Points(&[
    point("hydraulic_pressure", Table::Holding, 0, Format::F32Cdab, pressure).in_unit("bar"),
    point("oil_temperature", Table::Holding, 2, Format::I16, |s| 46.0 + 3.0 * (s / 90.0 * TAU).sin())
        .in_unit("Cel")
        .scaled(0.1),
    point("cycles", Table::Holding, 3, Format::U32, |s| 1_204_311.0 + (s / STROKE).floor()),
    point("state", Table::Holding, 5, Format::U16, |s| if stroke(s) < 6.0 { 3.0 } else { 1.0 }),
    point("ram_position", Table::Input, 0, Format::I16, |s| 400.0 - 400.0 * (pressure(s) / 180.0).min(1.0))
        .in_unit("mm"),
    point("running", Table::Coil, 0, Format::Bit, |s| f64::from(u8::from(stroke(s) < 6.0))),
    point("guard_open", Table::Discrete, 0, Format::Bit, |s| f64::from(u8::from(stroke(s) >= 7.0))),
]);

fn zone(s: f64, set_point: f64, phase: f64) -> f64 {
    // Heats up within minutes of the start, then swings about its set point as a two-point controller makes it.
    set_point - (set_point - 25.0) * (-s / 40.0).exp() + 1.8 * (s / 21.0 * TAU + phase).sin()
}

/// A paint oven of three zones.
pub const OVEN: Points = Points(&[
    point("zone_1_temperature", Table::Input, 0, Format::I16, |s| zone(s, 140.0, 0.0)).in_unit("Cel").scaled(0.1),
    point("zone_2_temperature", Table::Input, 1, Format::I16, |s| zone(s, 165.0, 2.0)).in_unit("Cel").scaled(0.1),
    point("zone_3_temperature", Table::Input, 2, Format::I16, |s| zone(s, 150.0, 4.0)).in_unit("Cel").scaled(0.1),
    point("conveyor_speed", Table::Holding, 0, Format::F32Cdab, |s| 2.4 + 0.05 * (s / 13.0 * TAU).sin())
        .in_unit("m/min"),
    point("gas_energy", Table::Holding, 2, Format::U32, |s| 88_412_000.0 + s * 61.0).in_unit("kJ"),
    point("door_closed", Table::Discrete, 0, Format::Bit, |s| f64::from(u8::from(s.rem_euclid(45.0) < 41.0))),
]);

/// A six-axis handling robot; its axes swing against each other.
pub const ROBOT: Points = Points(&[
    point("axis_1_angle", Table::Holding, 0, Format::F32Cdab, |s| 80.0 * (s / 6.0 * TAU).sin()).in_unit("deg"),
    point("axis_2_angle", Table::Holding, 2, Format::F32Cdab, |s| -30.0 + 25.0 * (s / 3.0 * TAU).cos()).in_unit("deg"),
    point("axis_3_angle", Table::Holding, 4, Format::F32Cdab, |s| 60.0 + 40.0 * (s / 6.0 * TAU).cos()).in_unit("deg"),
    point("motor_current", Table::Input, 0, Format::U16, |s| 3.1 + 2.2 * (s / 3.0 * TAU).sin().abs())
        .in_unit("A")
        .scaled(0.01),
    point("parts", Table::Holding, 6, Format::U32, |s| 90_417.0 + (s / 6.0).floor()),
    point("gripper_closed", Table::Coil, 0, Format::Bit, |s| f64::from(u8::from(s.rem_euclid(6.0) < 3.2))),
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_points_of_a_machine_share_an_address() {
        for machine in [PRESS, OVEN, ROBOT] {
            let mut taken = std::collections::BTreeSet::new();
            for point in machine.0 {
                for address in point.address..point.address + point.format.width() {
                    assert!(taken.insert((point.table, address)), "{} at {address}", point.name);
                }
            }
        }
    }

    #[test]
    fn a_value_lies_in_its_registers_as_its_format_says() {
        assert_eq!(Format::F32Cdab.words(1.0), [0x0000, 0x3f80]);
        assert_eq!(Format::U32.words(65_538.0), [1, 2]);
        assert_eq!(Format::I16.words(-2.0)[0], 0xfffe);
        assert_eq!(Format::Bit.words(1.0)[0], 1);
        let at_rest = Duration::from_millis(6500);
        assert_eq!(PRESS.read(Table::Holding, 1, at_rest), Some(0x4080), "4.0 bar, the high word second");
        assert_eq!(PRESS.read(Table::Holding, 6, at_rest), None);
        assert_eq!(PRESS.read(Table::Discrete, 0, at_rest), Some(0));
    }
}
