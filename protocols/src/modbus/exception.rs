//! What an exception code says: whose fault it is, and whether the device itself is alive. What follows from it is in
//! [`super::life`] and [`super::isolate`].

/// The kind of trouble that an exception code names (Modbus Application Protocol 1.1b3, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 1 to 3: the device is well, and is asked for what it does not have. Somebody has to change the configuration.
    Configuration,
    /// 4 and 8: the device is in trouble of its own.
    Device,
    /// 5 and 6: the device is busy. It is left alone for a while.
    Busy,
    /// 10 and 11: a gateway could not reach the device. It is the gateway that is alive.
    Unreachable,
    /// Everything else: a code of the manufacturer's own.
    Other,
}

impl Class {
    /// Of this code.
    #[must_use]
    pub const fn of(code: u8) -> Self {
        match code {
            1..=3 => Class::Configuration,
            4 | 8 => Class::Device,
            5 | 6 => Class::Busy,
            10 | 11 => Class::Unreachable,
            _ => Class::Other,
        }
    }

    /// Whether the device itself spoke.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        !matches!(self, Class::Unreachable)
    }
}

/// Whether a code says that a range of entries cannot be read as it was asked for: 2 and 3, since devices disagree about
/// which of the two a range that is too long deserves.
#[must_use]
pub const fn refuses_range(code: u8) -> bool {
    matches!(code, 2 | 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mb12_every_code_has_its_class() {
        let classes = (0..=12).map(Class::of).collect::<Vec<_>>();
        use Class::{Busy, Configuration, Device, Other, Unreachable};
        let expected = [
            Other,
            Configuration,
            Configuration,
            Configuration,
            Device,
            Busy,
            Busy,
            Other,
            Device,
            Other,
            Unreachable,
            Unreachable,
            Other,
        ];
        assert_eq!(classes, expected);
        for code in 0..=u8::MAX {
            assert_eq!(Class::of(code).is_alive(), code != 10 && code != 11);
            assert_eq!(refuses_range(code), code == 2 || code == 3);
        }
    }
}
