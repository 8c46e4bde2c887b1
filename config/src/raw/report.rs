//! The dead band of a signal: a number, or a percentage. The intervals beside it are in [`super::quantity`]; what must
//! fit together is in [`crate::check::report`].

use lineside_protocols::report::DeadBand;
use schemars::{Schema, json_schema};

use super::field::{Any, Leaf};
use crate::problem::Fault;

/// `0.5`, in the unit of the signal, or `"1%"` of the value reported last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Band;

impl Leaf for Band {
    type Value = DeadBand;

    fn schema() -> Schema {
        json_schema!({
            "type": ["number", "string"], "minimum": 0, "pattern": r"^[0-9]+(\.[0-9]+)?%$",
            "x-type": "number or percentage", "x-range": "from 0; 0% – 100%",
        })
    }

    fn read(any: &Any) -> Result<DeadBand, Fault> {
        if let Any::Text(text) = any {
            return percent(text);
        }
        let band = any.number().ok_or_else(|| any.instead_of("a number or a percentage", "0.5"))?;
        if !band.is_finite() || band < 0.0 {
            let why = format!("{band} is no distance");
            return Err(Fault::new(why, "write a number from 0, in the unit of the signal, or a percentage as \"1%\""));
        }
        Ok(DeadBand::Absolute(band))
    }
}

fn percent(text: &str) -> Result<DeadBand, Fault> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_decimal = |number: &str| match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    };
    let number = text.strip_suffix('%').filter(|number| is_decimal(number)).and_then(|number| number.parse().ok());
    match number {
        Some(percent @ 0.0..=100.0) => Ok(DeadBand::Percent(percent / 100.0)),
        Some(_) => {
            let why = format!("`{text}` is more than the value itself");
            Err(Fault::new(why, "choose from \"0%\" to \"100%\", or write a number in the unit of the signal"))
        }
        None => {
            let help = "write a percentage as \"1%\" or \"0.5%\"; a number in the unit of the signal has no quotes";
            Err(Fault::new(format!("`{text}` is no percentage"), help))
        }
    }
}
