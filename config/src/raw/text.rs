//! Values that are texts: names, files, units, and the choice among fixed words. Network addresses are in
//! [`super::network`].

use std::marker::PhantomData;
use std::path::PathBuf;

use lineside_protocols::modbus::settings::Overrun;
use lineside_protocols::name::{Location, MAX_NAME_BYTES, Name};
use lineside_protocols::uplink::{Encoding, KeySource};
use schemars::{Schema, json_schema};

use super::field::{Any, Field, Leaf};
use crate::later;
use crate::problem::Fault;
use crate::shape::closest;

/// Most bytes of a unit: the longest of UCUM's own examples have some 30.
const MAX_UNIT: usize = 64;
/// Most bytes of a path, as Linux has it (PATH_MAX).
const MAX_PATH: usize = 4096;
/// Most bytes of a credential's name, which is a file name (systemd.exec(5), NAME_MAX).
const MAX_CREDENTIAL: usize = 255;

/// A [`Name`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identifier;

impl Leaf for Identifier {
    type Value = Name;

    fn schema() -> Schema {
        let pattern = r"^[\p{L}\p{N}_.-]+$";
        json_schema!({
            "type": "string", "pattern": pattern, "minLength": 1, "maxLength": MAX_NAME_BYTES, "x-type": "name",
        })
    }

    fn read(any: &Any) -> Result<Name, Fault> {
        let text = any.text("a name", "\"press-7\"")?;
        text.parse().map_err(|e| Fault::new(format!("`{text}`: {e}"), "a name such as \"press-7\" or \"Ofen_2\""))
    }
}

/// A [`Location`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place;

impl Leaf for Place {
    type Value = Location;

    fn schema() -> Schema {
        json_schema!({"type": "string", "pattern": "^[^/]+(/[^/]+){3,4}$", "x-type": "location"})
    }

    fn read(any: &Any) -> Result<Location, Fault> {
        let example = "\"acme/stuttgart/paint/line-2\"";
        let text = any.text("a location", example)?;
        let help = format!("write enterprise/site/area/line or enterprise/site/area/line/cell, as in {example}");
        text.parse().map_err(|e| Fault::new(format!("`{text}`: {e}"), help))
    }
}

/// A file or directory. Relative ones are resolved by the checks, which know where the configuration lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilePath;

impl Leaf for FilePath {
    type Value = PathBuf;

    fn schema() -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_PATH, "x-type": "path"})
    }

    fn read(any: &Any) -> Result<PathBuf, Fault> {
        let help = "write an absolute path, or one relative to the directory of this file";
        match any.text("a path", "\"/etc/lineside/pki/gateway.pem\"")? {
            "" => Err(Fault::new("the path is empty", help)),
            text if text.contains("-----BEGIN") => {
                let help = "save it to a file of its own and write the path of that file";
                Err(Fault::new("this is the content of a PEM file, and its path is needed", help))
            }
            text if text.len() > MAX_PATH || text.contains('\0') => Err(Fault::new("this cannot be a path", help)),
            text if text.starts_with('~') => {
                Err(Fault::new(format!("`{text}`: `~` is the shell's, and means nothing to a daemon"), help))
            }
            text => Ok(PathBuf::from(text)),
        }
    }

    fn show(value: &PathBuf) -> serde_json::Value {
        value.display().to_string().into()
    }
}

/// A file, or `credential:NAME`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyFile;

impl Leaf for KeyFile {
    type Value = KeySource;

    fn schema() -> Schema {
        let mut schema = FilePath::schema();
        schema.insert("x-type".to_owned(), "path or `credential:NAME`".into());
        schema
    }

    fn read(any: &Any) -> Result<KeySource, Fault> {
        let text = any.text("a path or a credential", "\"credential:gateway.key\"")?;
        let Some(name) = text.strip_prefix("credential:") else {
            return FilePath::read(any).map(KeySource::File);
        };
        let plain = !name.is_empty() && !name.contains(|c: char| c == '/' || c.is_control());
        if !plain || matches!(name, "." | "..") || name.len() > MAX_CREDENTIAL {
            let help = "write the name that the unit's LoadCredential= gives it, as in \"credential:gateway.key\"";
            return Err(Fault::new(format!("`{name}` is no name of a systemd credential"), help));
        }
        Ok(KeySource::Credential(name.to_owned()))
    }
}

/// A unit of the Unified Code for Units of Measure, in its case-sensitive form (UCUM 2.1, §2-§5). Its characters are
/// checked, not its meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit;

/// What people write, and what UCUM calls it.
const UNITS: [(&str, &str); 9] = [
    ("°C", "Cel"),
    ("°F", "[degF]"),
    ("°", "deg"),
    ("µm", "um"),
    ("μm", "um"),
    ("m³", "m3"),
    ("m³/h", "m3/h"),
    ("m²", "m2"),
    ("Ω", "Ohm"),
];

impl Leaf for Unit {
    type Value = String;

    fn schema() -> Schema {
        let pattern = "^[!-~]+$";
        json_schema!({"type": "string", "pattern": pattern, "minLength": 1, "maxLength": MAX_UNIT, "x-type": "UCUM unit"})
    }

    fn read(any: &Any) -> Result<String, Fault> {
        let text = any.text("a unit", "\"bar\"")?;
        if (1..=MAX_UNIT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(text.to_owned());
        }
        let help = match UNITS.iter().find(|(written, _)| *written == text) {
            Some((_, ucum)) => format!("write `unit = \"{ucum}\"`"),
            None => "write it as UCUM does: Cel, bar, m3/h, um, %, {piece}; or remove it".to_owned(),
        };
        let why = format!("`{text}` is no UCUM unit: 1 to {MAX_UNIT} ASCII characters without spaces");
        Err(Fault::new(why, help))
    }
}

/// Words that a key may have, and those that a later version will take.
pub(crate) trait Choice: Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
    const LATER: &'static [&'static str] = &[];
    /// What the words are, for a message.
    const WHAT: &'static str;
}

/// One of the words of a [`Choice`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OneOf<T>(PhantomData<T>);

/// The default is the first word, as the type itself has it.
impl<T: Choice + Default> Default for Field<OneOf<T>> {
    fn default() -> Self {
        Field::default_of(T::default())
    }
}

impl<T: Choice> OneOf<T> {
    fn words() -> Vec<&'static str> {
        T::ALL.iter().map(|(word, _)| *word).collect()
    }
}

impl<T: Choice> Leaf for OneOf<T> {
    type Value = T;

    fn schema() -> Schema {
        let words = Self::words();
        json_schema!({"type": "string", "enum": words, "x-type": "word"})
    }

    fn read(any: &Any) -> Result<T, Fault> {
        let words = Self::words();
        let one_of = format!("write one of {}", words.join(", "));
        let text = any.text(T::WHAT, &format!("{:?}", words.first().unwrap_or(&"")))?;
        if let Some((_, value)) = T::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        if T::LATER.contains(&text) {
            return Err(later::fault(text, &one_of));
        }
        let help = closest(text, words.iter().copied()).map_or(one_of, |word| format!("did you mean \"{word}\"?"));
        Err(Fault::new(format!("`{text}` is not {}", T::WHAT), help))
    }

    fn show(value: &T) -> serde_json::Value {
        let same = |(_, known): &&(&str, T)| std::mem::discriminant(known) == std::mem::discriminant(value);
        T::ALL.iter().find(same).map(|(word, _)| *word).into()
    }
}

impl Choice for Encoding {
    const ALL: &'static [(&'static str, Self)] = &[("zstd", Encoding::Zstd), ("gzip", Encoding::Gzip)];
    const WHAT: &'static str = "an encoding";
}

impl Choice for Overrun {
    const ALL: &'static [(&'static str, Self)] = &[("skip", Overrun::Skip), ("catch-up", Overrun::CatchUp)];
    const WHAT: &'static str = "a rule for overruns";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Any {
        Any::Text(text.to_owned())
    }

    #[test]
    fn a_key_is_a_file_or_a_credential() {
        assert_eq!(KeyFile::read(&text("pki/key.pem")), Ok(KeySource::File("pki/key.pem".into())));
        assert_eq!(KeyFile::read(&text("credential:a.key")), Ok(KeySource::Credential("a.key".into())));
        for bad in ["", "credential:", "credential:..", "credential:a/b", "credential:a\nb", "~/key.pem", "a\0b"] {
            assert!(KeyFile::read(&text(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_unit_is_ascii_and_the_usual_slips_are_known() {
        assert!(Unit::read(&text("{piece}/min")).is_ok());
        assert_eq!(Unit::read(&text("°C")).unwrap_err().help, "write `unit = \"Cel\"`");
        for bad in ["", "m s", "€", &"x".repeat(65)] {
            assert!(Unit::read(&text(bad)).is_err(), "{bad}");
        }
    }
}
