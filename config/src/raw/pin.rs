//! Pins of public keys, as `curl --pinnedpubkey` and RFC 7469 write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{Schema, json_schema};

use super::field::{Any, Field, Leaf};
use crate::problem::Fault;

/// Most pins: the key in use, the next one, and those of a few authorities.
const MAX_PINS: usize = 16;

/// SHA-256 of SubjectPublicKeyInfo, each in base64 (RFC 7469, 2.4).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pins;

impl Pins {
    pub(crate) fn none() -> Field<Self> {
        Field::default_of(Vec::new())
    }
}

impl Leaf for Pins {
    type Value = Vec<[u8; 32]>;

    fn schema() -> Schema {
        json_schema!({
            "type": "array", "items": {"type": "string", "pattern": "^(sha256//)?[A-Za-z0-9+/]{43}=$"},
            "maxItems": MAX_PINS, "x-type": "list of SHA-256 in base64", "x-range": format!("at most {MAX_PINS}"),
        })
    }

    fn read(any: &Any) -> Result<Vec<[u8; 32]>, Fault> {
        let Any::Array(list) = any else {
            return Err(any.instead_of("a list of pins", "[\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]"));
        };
        if list.len() > MAX_PINS {
            let why = format!("there are {} pins, the most are {MAX_PINS}", list.len());
            return Err(Fault::new(why, "pin the key in use and the one that follows it"));
        }
        list.iter().map(pin).collect()
    }

    fn show(value: &Vec<[u8; 32]>) -> serde_json::Value {
        value.iter().map(|pin| STANDARD.encode(pin)).collect::<Vec<_>>().into()
    }
}

/// `sha256//` before it is what curl writes.
fn pin(any: &Any) -> Result<[u8; 32], Fault> {
    let text = any.text("a pin", "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"")?;
    let bytes = STANDARD.decode(text.strip_prefix("sha256//").unwrap_or(text)).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let help = "write the base64 of a SHA-256, 44 characters: openssl x509 -in server.pem -noout -pubkey | \
                    openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
        Fault::new("this is no pin of a public key", help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_32_bytes_in_base64() {
        let read = |text: &str| Pins::read(&Any::Array(vec![Any::Text(text.into())]));
        let text = STANDARD.encode([7; 32]);
        assert_eq!(read(&text), Ok(vec![[7; 32]]));
        assert_eq!(read(&format!("sha256//{text}")), Ok(vec![[7; 32]]));
        for bad in ["", "sha256//", &text[1..], &STANDARD.encode([7; 20]), &STANDARD.encode([7; 33]), "0707"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Pins::read(&Any::Array(vec![Any::Text(text); MAX_PINS + 1])).is_err());
        assert!(Pins::read(&Any::Text("x".into())).is_err());
    }
}
