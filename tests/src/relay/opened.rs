//! TLS ended on both sides, so that a fault meets answers and not records.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::ingest::{TlsError, server_tls};
use crate::pki::Pair;

/// HTTP/2 would tell both sides of each other's windows and pings: its answers are no pieces of their own.
const HTTP_1: &[u8] = b"http/1.1";

/// Why TLS cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No port.
    #[error("the relay cannot listen: {0}")]
    Listen(#[from] io::Error),
}

pub(super) struct Opened {
    towards_gateways: TlsAcceptor,
    towards_receiver: TlsConnector,
    receiver: ServerName<'static>,
}

impl Opened {
    pub(super) fn new(target: SocketAddr, ca: &Path, server: &Pair, client: &Pair) -> Result<Self, OpenError> {
        let mut towards_gateways = server_tls(ca, server)?;
        towards_gateways.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(Opened {
            towards_gateways: Arc::new(towards_gateways).into(),
            towards_receiver: Arc::new(client_tls(ca, client)?).into(),
            receiver: ServerName::from(target.ip()),
        })
    }

    pub(super) async fn open(
        &self,
        gateway: TcpStream,
        receiver: TcpStream,
    ) -> io::Result<(server::TlsStream<TcpStream>, client::TlsStream<TcpStream>)> {
        let gateway = self.towards_gateways.accept(gateway).await?;
        Ok((gateway, self.towards_receiver.connect(self.receiver.clone(), receiver).await?))
    }
}

fn client_tls(ca: &Path, client: &Pair) -> Result<ClientConfig, TlsError> {
    let pem = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let config = |error: rustls::Error| TlsError::Config(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).map_err(pem(ca))?).map_err(config)?;
    let chain = vec![CertificateDer::from_pem_file(&client.certificate).map_err(pem(&client.certificate))?];
    let key = PrivateKeyDer::from_pem_file(&client.key).map_err(pem(&client.key))?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(config)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(config)?;
    tls.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(tls)
}
