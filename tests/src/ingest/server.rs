//! Sockets and TLS: who gets in, and how all of them are cut off at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::lock;
use crate::pki::Pair;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many refused addresses are remembered.
const REFUSED: usize = 1000;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificates that do not make a server.
    #[error("cannot set up TLS: {0}")]
    Config(String),
}

/// TLS 1.2 and 1.3 with a client certificate of the CA, HTTP/2 before HTTP/1.1.
pub(crate) fn tls(ca: &Path, server: &Pair) -> Result<ServerConfig, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let config = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(pem(ca))? {
        roots.add(certificate.map_err(pem(ca))?).map_err(|error| config(&error))?;
    }
    let chain = CertificateDer::pem_file_iter(&server.certificate).map_err(pem(&server.certificate))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(pem(&server.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&server.key).map_err(pem(&server.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| config(&error))?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config(&error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| config(&error))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Who may connect, and who tried.
#[derive(Default)]
pub(super) struct Door {
    pub(super) allowed: Mutex<Vec<IpAddr>>,
    pub(super) seen: Mutex<Connections>,
}

/// What came to the door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Connections from allowed addresses.
    pub accepted: u64,
    /// Connections from other addresses: closed before TLS.
    pub refused: u64,
    /// Where they came from, the last 1000.
    pub refused_from: VecDeque<SocketAddr>,
    /// Handshakes that failed: no client certificate, one of another CA, an expired one.
    pub failed_handshakes: u64,
    /// Why the last of them failed.
    pub last_failure: Option<String>,
}

impl Door {
    fn lets_in(&self, source: SocketAddr) -> bool {
        let allowed = lock(&self.allowed).contains(&source.ip());
        let mut seen = lock(&self.seen);
        if allowed {
            seen.accepted += 1;
        } else {
            seen.refused += 1;
            if seen.refused_from.len() == REFUSED {
                seen.refused_from.pop_front();
            }
            seen.refused_from.push_back(source);
        }
        allowed
    }

    fn failed(&self, why: String) {
        let mut seen = lock(&self.seen);
        seen.failed_handshakes += 1;
        seen.last_failure = Some(why);
    }
}

/// The other end of a request's connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Common name of its certificate.
    pub(super) client: Arc<str>,
    /// Ends the connection.
    pub(super) cut: CancellationToken,
}

/// A listener and its connections. They end with it.
pub(super) struct Server {
    end: DropGuard,
    tasks: TaskTracker,
}

impl Server {
    pub(super) fn start(listener: TcpListener, tls: Arc<ServerConfig>, door: Arc<Door>, router: Router) -> Self {
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        let accept = Accept { tls: tls.into(), door, router, end: end.clone(), tasks: tasks.clone() };
        tasks.spawn(end.clone().run_until_cancelled_owned(accept.run(listener)));
        tasks.close();
        Server { end: end.drop_guard(), tasks }
    }

    /// Returns when the port is closed and every connection is cut.
    pub(super) async fn stop(self) {
        drop(self.end);
        self.tasks.wait().await;
    }
}

#[derive(Clone)]
struct Accept {
    tls: TlsAcceptor,
    door: Arc<Door>,
    router: Router,
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let Ok((stream, source)) = listener.accept().await else {
                // It belongs to the one connection that was about to be accepted (accept(2)).
                tokio::task::yield_now().await;
                continue;
            };
            if !self.door.lets_in(source) {
                continue;
            }
            let cut = self.end.child_token();
            let connection = self.clone().serve(stream, source, cut.clone());
            self.tasks.spawn(cut.run_until_cancelled_owned(connection));
        }
    }

    async fn serve(self, stream: TcpStream, address: SocketAddr, cut: CancellationToken) {
        // Without it an answer may wait for the client's delayed acknowledgement; where it cannot be set, it waits.
        let _may_be_slow = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.door.failed(error.to_string()),
            Err(_) => return self.door.failed("no handshake within 10 s".to_owned()),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let client = certificate.and_then(common_name).unwrap_or_default().into();
        let peer = Peer { address, client, cut: cut.clone() };
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let answer = self.router.clone().oneshot(request);
            async { answer.await.map_err(|never: Infallible| never) }
        });
        let mut builder = Builder::new(Streams { cut, tasks: self.tasks });
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        // An error is the peer's: it went away.
        let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// Runs the streams of an HTTP/2 connection, which end with it.
#[derive(Clone)]
struct Streams {
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(stream));
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}
