//! Names and identities: checked once, when they are made, and valid from then on.
//! Where a name comes from (the configuration) and what it names lives elsewhere.

use std::fmt;
use std::str::FromStr;

/// Longest name in bytes. Long enough for a tag of any PLC, short enough to bound a log line.
pub const MAX_NAME_BYTES: usize = 128;

/// One segment of an identity: an agent, a device, an asset, a signal, a level of the location.
///
/// 1 to [`MAX_NAME_BYTES`] bytes of letters and digits of any script, `-`, `_` and `.`. What separates or matches
/// in a path, a topic or a query (`/ + # * ? $` and white space) is refused here, so no later format has to escape it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("{0:?} is not allowed in a name: use letters, digits, `-`, `_` and `.`")]
    Character(char),
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Name(text.into())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Where the gateway's equipment stands: enterprise/site/area/line, optionally /cell (ISA-95 part 1, 5.3, the
/// role-based equipment hierarchy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(Vec<Name>);

/// Why a text is not a [`Location`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not four or five levels.
    #[error("a location has four or five levels, enterprise/site/area/line[/cell], this one has {0}")]
    Levels(usize),
    /// One level is not a name.
    #[error("level {level} (`{text}`): {source}")]
    Level {
        /// Counted from 1.
        level: usize,
        /// As written.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let levels: Vec<&str> = text.split('/').collect();
        if !(4..=5).contains(&levels.len()) {
            return Err(LocationError::Levels(levels.len()));
        }
        let names = levels.iter().enumerate().map(|(at, level)| {
            level.parse().map_err(|source| LocationError::Level { level: at + 1, text: (*level).to_owned(), source })
        });
        Ok(Location(names.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, level) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            level.fmt(f)?;
        }
        Ok(())
    }
}

/// What a signal is called everywhere: `location/asset/signal`. It does not change when a PLC is replaced or
/// renumbered, because neither device nor register is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalId(Box<str>);

impl SignalId {
    /// The identity of `signal` on `asset` at `location`.
    #[must_use]
    pub fn new(location: &Location, asset: &Name, signal: &Name) -> Self {
        SignalId(format!("{location}/{asset}/{signal}").into())
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a [`SignalId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalIdError {
    /// Nothing after the location.
    #[error("an identity is location/asset/signal")]
    Parts,
    /// The part before the asset is no location.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// Asset or signal is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for SignalId {
    type Err = SignalIdError;

    fn from_str(text: &str) -> Result<Self, SignalIdError> {
        let (rest, signal) = text.rsplit_once('/').ok_or(SignalIdError::Parts)?;
        let (location, asset) = rest.rsplit_once('/').ok_or(SignalIdError::Parts)?;
        Ok(SignalId::new(&location.parse()?, &asset.parse()?, &signal.parse()?))
    }
}

impl fmt::Display for SignalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_refuses_what_separates_or_matches() {
        for bad in ["a/b", "a b", "a+", "#", "a\n", "$sys", "", &"x".repeat(129)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["press-7", "Ofen_2", "Zone1.Temperature", "Öl", "温度"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn the_identity_is_location_asset_signal() {
        let location: Location = "acme/stuttgart/paint/line-2".parse().unwrap();
        let id = SignalId::new(&location, &"press-7".parse().unwrap(), &"hydraulic_pressure".parse().unwrap());
        assert_eq!(id.as_str(), "acme/stuttgart/paint/line-2/press-7/hydraulic_pressure");
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in ["press-7", "press-7/pressure", "acme/stuttgart/press-7/pressure", "a/b/c/d//signal"] {
            assert!(bad.parse::<SignalId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_location_has_four_or_five_levels() {
        assert_eq!("acme/stuttgart".parse::<Location>(), Err(LocationError::Levels(2)));
        assert!("a/b/c/d/e".parse::<Location>().is_ok());
        assert!(matches!("a/b//d".parse::<Location>(), Err(LocationError::Level { level: 3, .. })));
    }
}
