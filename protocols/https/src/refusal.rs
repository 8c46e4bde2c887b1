//! Whether the server refuses the client certificate, where a request has only shown that the connection broke.
//!
//! With TLS 1.3 the client's handshake is over before the server has looked at the certificate (RFC 8446, 4.4.2). A
//! server that refuses it sends an alert and closes; a request that is on its way meanwhile makes its kernel answer
//! with a reset, and the reset overtakes the alert. So the question is asked once more, in silence: a handshake, not a
//! byte after it, and whatever the server says then is read.

use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::wire::verdict::Failure;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::failure::tls_failure;
use crate::line::CONNECT_TIMEOUT;
use crate::probe::connect;

/// How long the server has for its verdict after the handshake: one round trip, also over a satellite.
const VERDICT: Duration = Duration::from_secs(2);

impl Client {
    /// What the server says of the client certificate; nothing where it takes it, or does not say.
    pub(crate) async fn refusal(&self) -> Option<Failure> {
        let name = ServerName::try_from(self.endpoint().host().to_owned()).ok()?;
        let asked = timeout(CONNECT_TIMEOUT, async {
            let stream = connect(self.endpoint()).await?;
            TlsConnector::from(Arc::new(self.line().tls().clone())).connect(name, stream).await
        });
        let said = match asked.await.ok()? {
            Ok(mut stream) => timeout(VERDICT, stream.read_u8()).await.ok()?.map(|_| ()),
            Err(error) => Err(error),
        };
        tls_failure(&said.err()?, self.endpoint())
    }
}
