//! A receiver with a client, and lines that were written by hand from DESIGN.md: nothing here comes out of the agent's
//! encoder. Every answer that passes through here is checked against the OpenAPI file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests are tests too")]
#![expect(dead_code, reason = "each test binary uses its part")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lineside_testbed::ingest::{Ingest, Options};
use lineside_testbed::pki::{Pair, Pki};
use reqwest::{Client, RequestBuilder, StatusCode};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

pub(crate) const AGENT: &str = "gw-paint-01";
pub(crate) const EPOCH: &str = "b41c0f6a2c7d4e0b9a55f0e1d2c3b4a5";
pub(crate) const BOOT: &str = "7c1e0000000000000000000000000001";
pub(crate) const MEDIA_TYPE: &str = "application/vnd.lineside.blocks+ndjson; v=1";

/// Six signals: f32, bool, u16 on the press; f64, string, u64 on the oven.
pub(crate) const CATALOGUE: &str = include_str!("catalogue.json");
/// `sha256sum` of its signals.
pub(crate) const CATALOGUE_ID: &str = "ed9789ce36b70db45d28e748ebcb0267089da7a80a54f881b4c5b355687c70ba";

/// The block of DESIGN.md: a grid of three signals at two times, one reading bad, and a list of two.
pub(crate) fn block(first: u64) -> String {
    let tables = r#"[{"signals":[[0,2]],"t":[0,1000],"v":[12.3,12.4,true,true,null,7],"q":[[2,2,0,0,"bad","modbus:exception:4"]]},{"s":[3,4],"t":[3,12],"v":[88.1,"open"]}]"#;
    readings(first, 8, tables)
}

/// A block of readings with these tables.
pub(crate) fn readings(first: u64, count: u64, tables: &str) -> String {
    format!(
        r#"{{"block":1,"agent":"{AGENT}","epoch":"{EPOCH}","lane":"readings","first":{first},"count":{count},"boot":"{BOOT}","t0":1795400000000,"clock":"synced","catalogue":"{CATALOGUE_ID}","tables":{tables}}}"#
    ) + "\n"
}

/// A `gap` or `quarantined` line of the readings.
pub(crate) fn notice(kind: &str, first: u64, last: u64, reason: &str) -> String {
    let count = last - first + 1;
    format!(
        r#"{{"{kind}":1,"agent":"{AGENT}","epoch":"{EPOCH}","lane":"readings","first":{first},"last":{last},"count":{count},"reason":"{reason}"}}"#
    ) + "\n"
}

/// One zstd frame for each line, end to end.
pub(crate) fn zstd(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| zstd::stream::encode_all(line.as_bytes(), 1).unwrap()).collect()
}

pub(crate) fn key(lane: &str, first: u64, last: u64) -> String {
    format!("\"{AGENT}:{EPOCH}:{lane}:{first}-{last}\"")
}

/// An answer that the OpenAPI file describes.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Reply {
    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap().rsplit(':').next().unwrap()
    }
}

pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) client_pair: Pair,
    pub(crate) options: Options,
    pub(crate) ingest: Ingest,
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Bench::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::new(directory.path().join("pki")).unwrap();
        let server = pki.server(&["127.0.0.1", "localhost"]).unwrap();
        let client_pair = pki.client(AGENT).unwrap();
        let mut options = Options::new(&pki, server, directory.path().join("ingest.db"));
        change(&mut options);
        let ingest = Ingest::start(options.clone()).unwrap();
        let client = client(&pki, Some(&client_pair), IpAddr::from(Ipv4Addr::LOCALHOST), false);
        Bench { directory, pki, client_pair, options, ingest, client }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ingest.url())
    }

    /// A batch of these lines, not sent yet.
    pub(crate) fn batch(&self, lines: &[String], first: u64, last: u64) -> RequestBuilder {
        self.raw_batch(zstd(lines), key("readings", first, last))
    }

    pub(crate) fn raw_batch(&self, body: Vec<u8>, key: String) -> RequestBuilder {
        let request = self.client.post(self.url("/v1/batches")).header("content-type", MEDIA_TYPE);
        request.header("content-encoding", "zstd").header("idempotency-key", key).body(body)
    }

    pub(crate) async fn post(&self, lines: &[String], first: u64, last: u64) -> Reply {
        self.send("post", "/v1/batches", self.batch(lines, first, last)).await
    }

    pub(crate) async fn put_catalogue(&self) -> Reply {
        let request = self.client.put(self.url(&format!("/v1/catalogues/{CATALOGUE_ID}")));
        let request = request.header("content-type", MEDIA_TYPE).body(CATALOGUE);
        self.send("put", "/v1/catalogues/{id}", request).await
    }

    /// Sends, and checks that the OpenAPI file foresees this answer.
    pub(crate) async fn send(&self, method: &str, path: &str, request: RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let status = response.status();
        let media_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let openapi: Value = serde_json::from_str(include_str!("../../../protocols/openapi/ingest-v1.json")).unwrap();
        let described = &openapi["paths"][path][method]["responses"][status.as_str()];
        assert!(described.is_object(), "{method} {path} may not answer {status}: {text}");
        let Some(contents) = described["content"].as_object() else {
            assert_eq!(text, "", "{method} {path} {status} has no body");
            return Reply { status, body: Value::Null };
        };
        let schema = &contents[&media_type.unwrap()]["schema"];
        let body: Value = serde_json::from_str(&text).unwrap();
        valid(&openapi, schema, &body);
        Reply { status, body }
    }
}

/// Checks a value against a schema of the OpenAPI file.
pub(crate) fn valid(openapi: &Value, schema: &Value, value: &Value) {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema], "components": openapi["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value:#}\n{errors:#?}");
}

/// A client of this CA, with this certificate, from this address.
pub(crate) fn client(pki: &Pki, pair: Option<&Pair>, from: IpAddr, http1: bool) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut tls = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_file(&pair.certificate).unwrap();
            builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_file(&pair.key).unwrap()).unwrap()
        }
    };
    tls.alpn_protocols = if http1 { vec![b"http/1.1".to_vec()] } else { vec![b"h2".to_vec()] };
    Client::builder().tls_backend_preconfigured(tls).no_proxy().https_only(true).local_address(from).build().unwrap()
}
