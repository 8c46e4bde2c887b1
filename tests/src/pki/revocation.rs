//! Certificates that are taken back: the authority's revocation list (RFC 5280, 5).

use std::path::PathBuf;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{Pair, Pki, PkiError, replace};

impl Pki {
    /// Where [`Pki::revoke`] writes the list.
    #[must_use]
    pub fn revocation_list(&self) -> PathBuf {
        self.directory.join("crl.pem")
    }

    /// Writes the list of revoked certificates: these, and no others. A pair may have been replaced since: what counts
    /// is its file as it is now.
    ///
    /// # Errors
    /// A file that cannot be read or written, or is no certificate.
    pub fn revoke(&self, pairs: &[&Pair]) -> Result<(), PkiError> {
        let revoked_certs = pairs.iter().map(|pair| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial_number(pair)?),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect::<Result<_, PkiError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let failed = |source| PkiError::Certificate { name: "crl".to_owned(), source };
        let text = list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(failed)?;
        replace(&self.revocation_list(), &text)
    }
}

fn serial_number(pair: &Pair) -> Result<Vec<u8>, PkiError> {
    let unreadable = || PkiError::Unreadable { path: pair.certificate.clone() };
    let der = CertificateDer::from_pem_file(&pair.certificate).map_err(|_| unreadable())?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable())?;
    Ok(certificate.raw_serial().to_vec())
}
