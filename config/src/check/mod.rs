//! From the raw file to typed settings: what one value cannot tell, because it needs another one or the place of the
//! file. The agent, the uplink and the buffer here; devices in [`device`], [`line`] and [`signal`], what stands between
//! devices in [`plant`] and [`load`].

pub(crate) mod device;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod plant;
pub(crate) mod signal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lineside_protocols::uplink::{KeySource, Settings};

use crate::problem::{Checked, Fault, Report, Reported};
use crate::raw;
use crate::raw::field::{Field, Leaf};
use crate::raw::quantity::show_duration;
use crate::shape::join;
use crate::source::Span;
use crate::{Agent, Buffer};

/// One section while it is checked: says where its problems are.
pub(crate) struct Section<'r, 't> {
    pub(crate) report: &'r mut Report<'t>,
    /// `device.press-7`.
    pub(crate) path: String,
}

impl Section<'_, '_> {
    /// A value that is always there, as written or by default.
    pub(crate) fn take<L: Leaf>(&mut self, key: &str, field: &Field<L>) -> Checked<L::Value> {
        field.value.clone().map_err(|fault| self.refuse(key, field.span.as_ref(), fault))
    }

    /// A value that must be there; that it is missing has been reported with the shape.
    pub(crate) fn required<L: Leaf>(&mut self, key: &str, field: &Option<Field<L>>) -> Checked<L::Value> {
        field.as_ref().map_or(Err(Reported), |field| self.take(key, field))
    }

    /// A value that may be left out.
    pub(crate) fn optional<L: Leaf>(&mut self, key: &str, field: &Option<Field<L>>) -> Checked<Option<L::Value>> {
        field.as_ref().map(|field| self.take(key, field)).transpose()
    }

    /// Reports a problem of `key`.
    pub(crate) fn refuse(&mut self, key: &str, span: Option<&Span>, fault: Fault) -> Reported {
        let path = join(&self.path, key);
        match span {
            Some(span) => self.report.at(span, &path, fault),
            None => self.report.whole(&path, fault),
        }
    }

    /// Two durations of which the first is at most the second.
    fn ordered<L, M>(&mut self, least: (&str, &Field<L>), most: (&str, &Field<M>)) -> Checked<(Duration, Duration)>
    where
        L: Leaf<Value = Duration>,
        M: Leaf<Value = Duration>,
    {
        let (low, high) = (self.take(least.0, least.1), self.take(most.0, most.1));
        let (low, high) = (low?, high?);
        if low <= high {
            return Ok((low, high));
        }
        let (name, other) = (least.0, most.0);
        let why = format!("`{name}` is {}, more than `{other}`, {}", show_duration(low), show_duration(high));
        let span = least.1.span.as_ref().or(most.1.span.as_ref());
        Err(self.refuse(name, span, Fault::new(why, format!("lower `{name}` or raise `{other}`"))))
    }
}

/// Where a field stands, if it is there.
pub(crate) fn span<L: Leaf>(field: &Option<Field<L>>) -> Option<&Span> {
    field.as_ref().and_then(|field| field.span.as_ref())
}

pub(crate) fn agent(raw: &raw::Agent, report: &mut Report<'_>) -> Checked<Agent> {
    let mut at = Section { report, path: "agent".to_owned() };
    let (id, location) = (at.required("id", &raw.id), at.required("location", &raw.location));
    Ok(Agent { id: id?, location: location? })
}

/// `base` is the directory of the configuration file.
pub(crate) fn uplink(raw: &raw::Uplink, base: &Path, report: &mut Report<'_>) -> Checked<Settings> {
    let mut at = Section { report, path: "uplink".to_owned() };
    let url = at.required("url", &raw.url);
    let source_address = at.required("source_address", &raw.source_address);
    let ca = at.required("ca", &raw.ca);
    let certificate = at.required("certificate", &raw.certificate);
    let private_key = at.required("private_key", &raw.private_key);
    let request_timeout = at.take("request_timeout", &raw.request_timeout);
    let retry = at.ordered(("retry_min", &raw.retry_min), ("retry_max", &raw.retry_max));
    let backfill_rate = at.take("backfill_rate", &raw.backfill_rate);
    let encoding = at.take("encoding", &raw.encoding);
    let pin_spki = at.take("pin_spki", &raw.pin_spki);
    let (retry_min, retry_max) = retry?;
    Ok(Settings {
        url: url?,
        source_address: source_address?,
        ca: base.join(ca?),
        certificate: base.join(certificate?),
        private_key: match private_key? {
            KeySource::File(path) => KeySource::File(base.join(path)),
            credential @ KeySource::Credential(_) => credential,
        },
        request_timeout: request_timeout?,
        retry_min,
        retry_max,
        backfill_rate: backfill_rate?,
        encoding: encoding?,
        pin_spki: pin_spki?,
    })
}

pub(crate) fn buffer(raw: &raw::Buffer, base: &Path, report: &mut Report<'_>) -> Checked<Buffer> {
    let mut at = Section { report, path: "buffer".to_owned() };
    let directory: Checked<PathBuf> = at.take("directory", &raw.directory);
    let max_size = at.take("max_size", &raw.max_size);
    let max_age = at.take("max_age", &raw.max_age);
    let min_free_disk = at.take("min_free_disk", &raw.min_free_disk);
    let commit_interval = at.take("commit_interval", &raw.commit_interval);
    Ok(Buffer {
        directory: base.join(directory?),
        max_size: max_size?,
        max_age: max_age?,
        min_free_disk: min_free_disk?,
        commit_interval: commit_interval?,
    })
}
