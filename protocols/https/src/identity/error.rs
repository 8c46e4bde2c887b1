//! What can be wrong with the uplink's files, worded for the person who has to set it right.

use std::fmt;
use std::path::PathBuf;

/// One of the uplink's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The authorities that may have signed the server's certificate.
    Ca,
    /// The client's certificate.
    Certificate,
    /// Its key.
    PrivateKey,
}

impl Item {
    /// The setting that names it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Item::Ca => "uplink.ca",
            Item::Certificate => "uplink.certificate",
            Item::PrivateKey => "uplink.private_key",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::Ca => "CA file",
            Item::Certificate => "certificate file",
            Item::PrivateKey => "private key file",
        })
    }
}

/// Why the files of the uplink cannot be used. No text holds any part of a key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts say")]
pub enum IdentityError {
    /// There is no such file.
    #[error("the {item} {} does not exist", path.display())]
    Missing { item: Item, path: PathBuf },
    /// The file, or a folder above it, cannot be read.
    #[error("the {item} {} cannot be read: {source}", path.display())]
    Unreadable { item: Item, path: PathBuf, source: std::io::Error },
    /// A folder, a pipe or a device.
    #[error("the {item} {} is no regular file", path.display())]
    NotAFile { item: Item, path: PathBuf },
    /// Longer than any such file is.
    #[error("the {item} {} is larger than 1 MiB", path.display())]
    TooLarge { item: Item, path: PathBuf },
    /// Not one PEM section of the kind that belongs there.
    #[error("the {item} {} holds no {}{}", path.display(), wanted(*.item), instead.map(|kind| format!(", but {kind}")).unwrap_or_default())]
    Nothing { item: Item, path: PathBuf, instead: Option<&'static str> },
    /// A PEM section that does not end, or is no base64.
    #[error("the {item} {} is damaged: one of its PEM sections cannot be decoded", path.display())]
    Damaged { item: Item, path: PathBuf },
    /// A section that says it is a certificate, and is none.
    #[error("the {item} {} is damaged: number {position} of its certificates cannot be read", path.display())]
    Certificate { item: Item, path: PathBuf, position: usize },
    /// Others than its owner may use the key.
    #[error("the private key file {} is open to others than its owner (mode {mode:04o})", path.display())]
    Permission { path: PathBuf, mode: u32 },
    /// Which of them is meant?
    #[error("the private key file {} holds {count} private keys", path.display())]
    SeveralKeys { path: PathBuf, count: usize },
    /// Nobody is there to type the password.
    #[error("the private key in {} is encrypted", path.display())]
    EncryptedKey { path: PathBuf },
    /// An algorithm, or a size, that TLS is not done with here.
    #[error("the private key in {} is of a kind that is not supported", path.display())]
    KeyKind { path: PathBuf },
    /// The key is another certificate's.
    #[error("the certificate in {} does not belong to the private key in {}", certificate.display(), private_key.display())]
    Mismatch {
        certificate: PathBuf,
        private_key: PathBuf,
        /// Which certificate of the file belongs to the key, from 1.
        matching: Option<usize>,
    },
    /// Not a file name.
    #[error("`credential:{name}` names no credential")]
    CredentialName { name: String },
    /// Not started by systemd, or without any credential.
    #[error("`credential:{name}` cannot be found: $CREDENTIALS_DIRECTORY is not set")]
    NoCredentials { name: String },
}

const fn wanted(item: Item) -> &'static str {
    match item {
        Item::Ca | Item::Certificate => "PEM certificate",
        Item::PrivateKey => "PEM private key",
    }
}

impl IdentityError {
    /// The setting that is to be looked at, `uplink.ca` for example.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Missing { item, .. }
            | Self::Unreadable { item, .. }
            | Self::NotAFile { item, .. }
            | Self::TooLarge { item, .. }
            | Self::Nothing { item, .. }
            | Self::Damaged { item, .. }
            | Self::Certificate { item, .. } => item.key(),
            Self::Mismatch { .. } => Item::Certificate.key(),
            Self::Permission { .. }
            | Self::SeveralKeys { .. }
            | Self::EncryptedKey { .. }
            | Self::KeyKind { .. }
            | Self::CredentialName { .. }
            | Self::NoCredentials { .. } => Item::PrivateKey.key(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { item, .. } => format!("put the file there, or correct {}", item.key()),
            Self::Unreadable { .. } => {
                "let the user that lineside runs as read it, and pass every folder above it".into()
            }
            Self::NotAFile { item, .. } => format!("name the PEM file itself in {}", item.key()),
            Self::TooLarge { item, .. } => format!("check that {} names the right file", item.key()),
            Self::Nothing { item: Item::Ca, .. } => "put the certificate of the CA there, in PEM form \
                (-----BEGIN CERTIFICATE-----)"
                .into(),
            Self::Nothing { item: Item::Certificate, .. } => "put the certificate there, in PEM form (-----BEGIN \
                CERTIFICATE-----), intermediates after it"
                .into(),
            Self::Nothing { item: Item::PrivateKey, .. } => "put the key of the certificate there, in PEM form \
                (-----BEGIN PRIVATE KEY-----)"
                .into(),
            Self::Damaged { .. } | Self::Certificate { .. } => "copy the file again from where it was issued".into(),
            Self::Permission { path, .. } => format!("chmod 0600 {}", path.display()),
            Self::SeveralKeys { .. } => "leave the one that belongs to uplink.certificate".into(),
            Self::EncryptedKey { path } => format!(
                "store it decrypted (openssl pkey -in {} -out …) with mode 0600, or as a systemd credential",
                path.display()
            ),
            Self::KeyKind { .. } => "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits".into(),
            Self::Mismatch { matching: Some(at), .. } => {
                format!("number {at} of the certificates in that file belongs to the key: put it first")
            }
            Self::Mismatch { matching: None, .. } => {
                "uplink.certificate and uplink.private_key must come from the same issue: copy both again".into()
            }
            Self::CredentialName { .. } => "write credential:NAME, where LoadCredential=NAME:… is in the unit".into(),
            Self::NoCredentials { name } => {
                format!("add LoadCredential={name}:… to the unit, or name the file in uplink.private_key")
            }
        }
    }
}
