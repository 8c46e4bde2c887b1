//! A throw-away certificate authority: files as an operator would install them, made anew for every demo and test.
//! Nothing here is fit to protect anything that lasts.

mod revocation;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that no certificate can carry.
    #[error("cannot make the certificate `{name}`: {source}")]
    Certificate {
        /// The file's stem.
        name: String,
        /// What is wrong with it.
        source: rcgen::Error,
    },
    /// A certificate that was made here and is none any more.
    #[error("{path} holds no certificate")]
    Unreadable {
        /// Which file.
        path: PathBuf,
    },
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The leaf certificate.
    pub certificate: PathBuf,
    /// Its PKCS#8 key, of mode 0600.
    pub key: PathBuf,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A server, by host names and IP addresses; the first is its common name too.
    Server(&'a [&'a str]),
    /// A client, by common name.
    Client(&'a str),
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 to 2099.
    #[default]
    Now,
    /// It ended in 2021.
    Expired,
    /// It begins in 2098.
    NotYet,
    /// From 2020 until so many days from now.
    Days(u16),
}

/// One certificate authority with a key that is never written.
///
/// For the "other CA" of a test, make a second one in another directory; for the "wrong name", a server certificate
/// for that name.
pub struct Pki {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes an authority and writes its certificate to `ca.pem` in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// Where the directory or the file cannot be written.
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self, PkiError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(|source| PkiError::Write { path: directory.clone(), source })?;
        let failed = |source| PkiError::Certificate { name: "ca".to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lineside throw-away CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        replace(&directory.join("ca.pem"), &certificate.pem())?;
        Ok(Pki { directory, issuer: Issuer::new(params, key) })
    }

    /// Where the authority's certificate lies.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A server certificate, `server.pem` and `server.key`, for host names and IP addresses.
    ///
    /// # Errors
    /// See [`Pki::issue`].
    pub fn server(&self, names: &[&str]) -> Result<Pair, PkiError> {
        self.issue("server", Subject::Server(names), Validity::Now)
    }

    /// A client certificate with this common name, `<name>.pem` and `<name>.key`.
    ///
    /// # Errors
    /// See [`Pki::issue`].
    pub fn client(&self, common_name: &str) -> Result<Pair, PkiError> {
        self.issue(common_name, Subject::Client(common_name), Validity::Now)
    }

    /// Any certificate, in `<stem>.pem` and `<stem>.key`. Files that are there already are replaced by renaming, as
    /// a rotation does it.
    ///
    /// # Errors
    /// A name that is not ASCII, or a file that cannot be written.
    pub fn issue(&self, stem: &str, subject: Subject<'_>, validity: Validity) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Certificate { name: stem.to_owned(), source };
        let (common_name, names, usage) = match subject {
            Subject::Server(names) => {
                (names.first().copied().unwrap_or(stem), names, ExtendedKeyUsagePurpose::ServerAuth)
            }
            Subject::Client(name) => (name, [].as_slice(), ExtendedKeyUsagePurpose::ClientAuth),
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let year = |year| date_time_ymd(year, 1, 1);
        let in_days = |days: u16| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            year(1970) + Duration::from_secs(now.as_secs() + u64::from(days) * 86_400)
        };
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (year(2020), year(2099)),
            Validity::Expired => (year(2020), year(2021)),
            Validity::NotYet => (year(2098), year(2099)),
            Validity::Days(days) => (year(2020), in_days(days)),
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let at = |extension: &str| self.directory.join(format!("{stem}.{extension}"));
        let pair = Pair { certificate: at("pem"), key: at("key") };
        replace(&pair.key, &key.serialize_pem())?;
        replace(&pair.certificate, &certificate.pem())?;
        Ok(pair)
    }
}

/// Writes beside the file and renames, so that no reader ever sees half of it. Readable by the owner alone from the
/// first byte: a mode that is set afterwards comes too late.
fn replace(path: &Path, text: &str) -> Result<(), PkiError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || -> io::Result<()> {
        let mut file: File =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| PkiError::Write { path: path.to_owned(), source })
}
