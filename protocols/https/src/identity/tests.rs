//! Every way in which the three files can be wrong, as the person at the gateway reads it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;

/// A folder with a good set of files, to be spoiled.
struct Files {
    folder: tempfile::TempDir,
    settings: Settings,
    key: KeyPair,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let settings = Settings {
            url: "https://ingest.example.com".into(),
            source_address: Ipv4Addr::LOCALHOST.into(),
            ca: path("ca.pem"),
            certificate: path("gateway.pem"),
            private_key: KeySource::File(path("gateway.key")),
            request_timeout: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            backfill_rate: 1 << 20,
            encoding: Default::default(),
            pin_spki: Vec::new(),
        };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let files = Files { folder, settings, key };
        files.put("ca.pem", ca, 0o644);
        files.put("gateway.pem", files.certificate(&files.key), 0o644);
        files.put("gateway.key", files.key.serialize_pem(), 0o600);
        files
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn certificate(&self, key: &KeyPair) -> String {
        let mut params = CertificateParams::new(vec!["gateway".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        params.self_signed(key).unwrap().pem()
    }

    fn load(&self) -> Result<Identity, IdentityError> {
        Identity::load_with(&self.settings, Some(self.folder.path()))
    }

    /// What `check` would print, with the folder's name taken out.
    #[track_caller]
    fn report(&self) -> String {
        let error = self.load().expect_err("these files are wrong");
        let report = format!("{}: {error}\n  help: {}", error.key(), error.remedy());
        let secret = self.key.serialize_pem();
        assert!(secret.lines().skip(1).all(|line| line.starts_with("---") || !report.contains(line)), "{report}");
        report.replace(self.folder.path().to_str().unwrap(), "/pki")
    }
}

#[test]
fn a_good_set_is_read() {
    let files = Files::new();
    let identity = files.load().unwrap();
    assert_eq!(identity.not_after(), UnixMillis(1_798_761_600_000)); // 2027-01-01
    let tls = identity.tls(&[]).unwrap();
    assert_eq!(tls.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let secret = format!("{:?}", files.key.serialized_der());
    assert!(!format!("{identity:?}{tls:?}").contains(&secret[1..secret.len() - 1]));
}

#[test]
fn a_bundle_ends_with_the_last_of_its_authorities() {
    let files = Files::new();
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let authority = |key: &KeyPair, until| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(key).unwrap().pem()
    };
    files.put("ca.pem", authority(&first, 2027) + &authority(&second, 2021), 0o644);
    let of_authorities = |now| {
        let identity = files.load().unwrap();
        identity.expiries(UnixMillis(now)).into_iter().find(|expiry| expiry.item == Item::Ca).map(|expiry| expiry.stage)
    };
    assert_eq!(of_authorities(1_798_761_600_001), Some(Stage::Expired)); // 2027-01-01
    assert_eq!(of_authorities(1_790_000_000_000), None); // 2026-09-21
}

#[test]
fn the_same_files_are_the_same_identity() {
    let files = Files::new();
    let before = files.load().unwrap();
    assert!(before.is_same(&files.load().unwrap()));
    files.put("gateway.pem", files.certificate(&files.key), 0o644);
    assert!(!before.is_same(&files.load().unwrap()), "renewed with the same key");
}

/// Every way in which files are replaced, each seen, and nothing seen where nothing was done.
#[test]
fn a_look_sees_every_change() {
    let files = Files::new();
    let path = |name: &str| files.folder.path().join(name);
    let mut before = Look::take(&files.settings);
    let mut changed = |what: &str| {
        let now = Look::take(&files.settings);
        assert_ne!(now, before, "{what}");
        assert_eq!(now, Look::take(&files.settings), "{what}, and nothing since");
        before = now;
    };
    let text = fs::read(path("gateway.pem")).unwrap();
    files.put("gateway.pem.new", &text, 0o644);
    fs::rename(path("gateway.pem.new"), path("gateway.pem")).unwrap();
    changed("the same text, renamed over it");
    fs::set_permissions(path("gateway.key"), fs::Permissions::from_mode(0o400)).unwrap();
    changed("another mode");
    fs::write(path("ca.pem"), &text[..text.len() / 2]).unwrap();
    changed("half a file");
    fs::remove_file(path("ca.pem")).unwrap();
    changed("removed");
    for release in ["one", "two"] {
        fs::create_dir(path(release)).unwrap();
        fs::write(path(release).join("ca.pem"), &text).unwrap();
        std::os::unix::fs::symlink(path(release), path("..data.new")).unwrap();
        fs::rename(path("..data.new"), path("..data")).unwrap();
        let _ = std::os::unix::fs::symlink("..data/ca.pem", path("ca.pem"));
        changed("the folder behind a link swapped");
    }
}

#[test]
fn every_supported_kind_of_key_is_read() {
    for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let files = Files::new();
        let key = KeyPair::generate_for(kind).unwrap();
        files.put("gateway.pem", files.certificate(&key), 0o644);
        files.put("gateway.key", key.serialize_pem(), 0o400);
        files.load().unwrap();
    }
}

#[test]
fn a_file_that_is_not_there() {
    let files = Files::new();
    fs::remove_file(&files.settings.ca).unwrap();
    insta::assert_snapshot!(files.report(), @r"
    uplink.ca: the CA file /pki/ca.pem does not exist
      help: put the file there, or correct uplink.ca
    ");
    let mut files = Files::new();
    files.settings.private_key = KeySource::File(files.folder.path().join("other.key"));
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/other.key does not exist
      help: put the file there, or correct uplink.private_key
    ");
}

#[test]
fn a_file_that_is_none() {
    let mut files = Files::new();
    files.settings.certificate = files.folder.path().to_owned();
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate file /pki is no regular file
      help: name the PEM file itself in uplink.certificate
    ");
    files.settings.certificate = "/dev/zero".into();
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate file /dev/zero is no regular file
      help: name the PEM file itself in uplink.certificate
    ");
    let files = Files::new();
    files.put("ca.pem", vec![b'x'; 1024 * 1024 + 1], 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.ca: the CA file /pki/ca.pem is larger than 1 MiB
      help: check that uplink.ca names the right file
    ");
}

#[test]
fn a_file_that_cannot_be_read() {
    // Root may read anything, so the file is made a loop instead of forbidden.
    let files = Files::new();
    fs::remove_file(&files.settings.certificate).unwrap();
    std::os::unix::fs::symlink("gateway.pem", &files.settings.certificate).unwrap();
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate file /pki/gateway.pem cannot be read: Too many levels of symbolic links (os error 40)
      help: let the user that lineside runs as read it, and pass every folder above it
    ");
}

#[test]
fn a_file_without_what_belongs_there() {
    let files = Files::new();
    files.put("ca.pem", "", 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.ca: the CA file /pki/ca.pem holds no PEM certificate
      help: put the certificate of the CA there, in PEM form (-----BEGIN CERTIFICATE-----)
    ");
    let files = Files::new();
    files.put("gateway.pem", files.key.serialize_pem(), 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate file /pki/gateway.pem holds no PEM certificate, but a private key
      help: put the certificate there, in PEM form (-----BEGIN CERTIFICATE-----), intermediates after it
    ");
    let files = Files::new();
    files.put("gateway.key", files.certificate(&files.key), 0o600);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/gateway.key holds no PEM private key, but a certificate
      help: put the key of the certificate there, in PEM form (-----BEGIN PRIVATE KEY-----)
    ");
}

#[test]
fn a_damaged_file() {
    let files = Files::new();
    files.put("gateway.key", files.key.serialize_pem().replace("-----END", "-----"), 0o600);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/gateway.key is damaged: one of its PEM sections cannot be decoded
      help: copy the file again from where it was issued
    ");
    let files = Files::new();
    files.put("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.ca: the CA file /pki/ca.pem is damaged: number 1 of its certificates cannot be read
      help: copy the file again from where it was issued
    ");
    let files = Files::new();
    files.put("gateway.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate file /pki/gateway.pem is damaged: number 1 of its certificates cannot be read
      help: copy the file again from where it was issued
    ");
}

#[test]
fn a_key_that_others_may_use() {
    for mode in [0o640, 0o604, 0o610, 0o602, 0o777] {
        let files = Files::new();
        files.put("gateway.key", files.key.serialize_pem(), mode);
        assert!(matches!(files.load(), Err(IdentityError::Permission { mode: seen, .. }) if seen == mode));
    }
    let files = Files::new();
    files.put("gateway.key", files.key.serialize_pem(), 0o640);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/gateway.key is open to others than its owner (mode 0640)
      help: chmod 0600 /pki/gateway.key
    ");
}

#[test]
fn a_key_that_is_not_one_usable_key() {
    let files = Files::new();
    files.put("gateway.key", files.key.serialize_pem() + &KeyPair::generate().unwrap().serialize_pem(), 0o600);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/gateway.key holds 2 private keys
      help: leave the one that belongs to uplink.certificate
    ");
    let files = Files::new();
    files.put("gateway.key", files.key.serialize_pem().replace("PRIVATE", "ENCRYPTED PRIVATE"), 0o600);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key in /pki/gateway.key is encrypted
      help: store it decrypted (openssl pkey -in /pki/gateway.key -out …) with mode 0600, or as a systemd credential
    ");
    let files = Files::new();
    files.put("gateway.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600);
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key in /pki/gateway.key is of a kind that is not supported
      help: use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits
    ");
}

#[test]
fn a_certificate_of_another_key() {
    let files = Files::new();
    let other = files.certificate(&KeyPair::generate().unwrap());
    files.put("gateway.pem", &other, 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate in /pki/gateway.pem does not belong to the private key in /pki/gateway.key
      help: uplink.certificate and uplink.private_key must come from the same issue: copy both again
    ");
    files.put("gateway.pem", other + &files.certificate(&files.key), 0o644);
    insta::assert_snapshot!(files.report(), @r"
    uplink.certificate: the certificate in /pki/gateway.pem does not belong to the private key in /pki/gateway.key
      help: number 2 of the certificates in that file belongs to the key: put it first
    ");
}

#[test]
fn a_credential_is_read_from_its_directory_whatever_its_mode() {
    let mut files = Files::new();
    files.settings.private_key = KeySource::Credential("gateway.key".into());
    files.put("gateway.key", files.key.serialize_pem(), 0o440);
    files.load().unwrap();

    files.settings.private_key = KeySource::Credential("other.key".into());
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: the private key file /pki/other.key does not exist
      help: put the file there, or correct uplink.private_key
    ");
    files.settings.private_key = KeySource::Credential("../gateway.key".into());
    insta::assert_snapshot!(files.report(), @r"
    uplink.private_key: `credential:../gateway.key` names no credential
      help: write credential:NAME, where LoadCredential=NAME:… is in the unit
    ");
    let none = credential("gateway.key", None).unwrap_err();
    insta::assert_snapshot!(format!("{}: {none}\n  help: {}", none.key(), none.remedy()), @r"
    uplink.private_key: `credential:gateway.key` cannot be found: $CREDENTIALS_DIRECTORY is not set
      help: add LoadCredential=gateway.key:… to the unit, or name the file in uplink.private_key
    ");
}

#[test]
fn the_client_certificate_and_the_authorities_are_watched() {
    let identity = Files::new().load().unwrap();
    let items = |now| identity.expiries(UnixMillis(now)).into_iter().map(|expiry| expiry.item).collect::<Vec<_>>();
    assert_eq!(items(1_798_761_600_000), [Item::Certificate]); // 2027-01-01
    assert_eq!(items(1_780_000_000_000), []); // 2026-05-28
}
