//! A TLS server that answers by a script and remembers who asked what. HTTP/1.1 by hand, so that it can misbehave;
//! HTTP/2 by hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Script {
    /// Answers with these bytes, head and all.
    Answer(String),
    /// Answers with this head, and then without end.
    Flood(&'static str),
    /// Answers with these bytes and closes the connection.
    BreakOff(&'static str),
    /// Never answers.
    Hang,
}

impl Script {
    pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Self {
        let length = body.len();
        Script::Answer(format!(
            "HTTP/1.1 {status} Any\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    pub(crate) fn ok() -> Self {
        Script::answer(200, "application/json", "{}")
    }
}

/// A request that arrived, decrypted.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) peer: SocketAddr,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
    flooded: usize,
}

/// The server; it ends when it is dropped.
pub(crate) struct Cloud {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

impl Cloud {
    pub(crate) async fn start(tls: Arc<ServerConfig>, script: Script) -> Self {
        Self::listen("127.0.0.1:0", Some(tls), script).await
    }

    pub(crate) async fn listen(address: &str, tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let script = Arc::new(Mutex::new(script));
        let mut tasks = JoinSet::new();
        let acceptor = tls.map(TlsAcceptor::from);
        tasks.spawn(accept(listener, acceptor, Arc::clone(&seen), Arc::clone(&script)));
        Cloud { address, seen, script, _tasks: tasks }
    }

    /// From now on.
    pub(crate) fn play(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Bytes of floods that the client's side took.
    pub(crate) fn flooded(&self) -> usize {
        self.seen.lock().unwrap().flooded
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Mutex<Script>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        seen.lock().unwrap().connections += 1;
        connections.spawn(connection(stream, peer, acceptor.clone(), Arc::clone(&seen), Arc::clone(&script)));
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Mutex<Script>>,
) {
    let Some(acceptor) = acceptor else {
        // Plain HTTP answers a TLS hello with its own error page.
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        return drain(stream).await;
    };
    let mut tls = match acceptor.accept(stream).into_fallible().await {
        Ok(tls) => tls,
        // The alert is on its way; a reset would overtake it.
        Err((_, stream)) => return drain(stream).await,
    };
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let certificate = certificate.map(CertificateDer::into_owned);
    if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
        let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let head = format!("{} {} {:?}", request.method(), request.uri().path(), request.version());
            let request = Request { peer, certificate: certificate.clone(), head, body: Vec::new() };
            seen.lock().unwrap().requests.push(request);
            let hangs = matches!(*script.lock().unwrap(), Script::Hang);
            async move {
                if hangs {
                    std::future::pending().await
                }
                Ok::<_, Infallible>(hyper::Response::new("{}".to_owned()))
            }
        });
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), answer).await;
        return;
    }
    while let Some((head, body)) = read_request(&mut tls).await {
        let request = Request { peer, certificate: certificate.clone(), head, body };
        seen.lock().unwrap().requests.push(request);
        let play = script.lock().unwrap().clone();
        match play {
            Script::Answer(answer) => tls.write_all(answer.as_bytes()).await.unwrap_or_default(),
            Script::Flood(head) => flood(&mut tls, head, &seen).await,
            Script::BreakOff(answer) => {
                let _ = tls.write_all(answer.as_bytes()).await;
                return tls.shutdown().await.unwrap_or_default();
            }
            Script::Hang => std::future::pending().await,
        }
        let _ = tls.flush().await;
    }
}

/// Something in between, which may stop relaying without a word to anybody.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    frozen: tokio::sync::watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, watch) = tokio::sync::watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut watch = watch.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let relayed = async {
                        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    };
                    let frozen = async {
                        let _frozen = watch.wait_for(|frozen| *frozen).await;
                    };
                    tokio::select! {
                        () = relayed => {}
                        // Both sockets stay open, and nobody reads them.
                        () = frozen => std::future::pending().await,
                    }
                });
            }
        });
        Relay { address, frozen, _tasks: tasks }
    }

    /// From now on nothing passes.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

async fn drain(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

async fn flood(stream: &mut (impl AsyncWrite + Unpin), head: &str, seen: &Mutex<Seen>) {
    let _ = stream.write_all(head.as_bytes()).await;
    let part = vec![b' '; 64 * 1024];
    while stream.write_all(&part).await.is_ok() {
        seen.lock().unwrap().flooded += part.len();
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while body.len() < length {
        stream.read_buf(&mut body).await.ok()?;
    }
    Some((head, body))
}
