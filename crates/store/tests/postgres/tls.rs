//! TLS to the database: verified both ways, or refused.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use store::postgres::{self, Config, OpenError};

use crate::faults::options;
use crate::server::{Server, connect};

/// An authority, and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        let own = params.self_signed(&key).expect("the authority is sound");
        let pem = pem("CERTIFICATE", own.der());
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns a certificate and its key.
    fn sign(&self, address: &str, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([address.to_owned()]).expect("is an address");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority is sound");
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }
}

/// Returns the text form of a certificate or key.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text.push_str(&STANDARD.encode(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn write(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder takes files");
    Some(path)
}

/// Turns TLS on at a server, which then asks clients for a certificate, and returns its URL.
async fn secured(server: &Server, authority: &Authority) -> String {
    let url = server.schema().await;
    let (certificate, key) = authority.sign("127.0.0.1", "server");
    server.keep("server.crt", &certificate);
    server.keep("server.key", &key);
    server.keep("clients.crt", &authority.pem);
    let rules = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n\
                 hostnossl all all 127.0.0.1/32 scram-sha-256\n";
    server.keep("pg_hba.conf", rules);
    server.execute(&url, "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'").await;
    server.execute(&url, "ALTER SYSTEM SET ssl = on").await;
    server.halt();
    server.start_again();
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_verified_both_ways() {
    let (server, authority) = (Server::start(), Authority::new());
    let url = secured(&server, &authority).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (certificate, key) = authority.sign("node.example", "campanile");
    let config = Config {
        ca: write(folder.path(), "ca.pem", &authority.pem),
        client_cert: write(folder.path(), "node.pem", &certificate),
        client_key: write(folder.path(), "node.key", &key),
        ..Config::new(&url)
    };
    let _engine = postgres::open(&config, options(None)).await.expect("both sides are known");
    let encrypted = "SELECT bool_and(ssl AND client_dn = '/CN=campanile') FROM pg_stat_ssl \
                     JOIN pg_stat_activity USING (pid) WHERE application_name = 'campanile'";
    let row = connect(&url).await.query_one(encrypted, &[]).await.expect("the server runs");
    assert_eq!(row.get::<_, Option<bool>>(0), Some(true), "every connection is encrypted");

    let stranger =
        Config { ca: write(folder.path(), "other.pem", &Authority::new().pem), ..config.clone() };
    let refused = postgres::open(&stranger, options(None)).await.err().expect("is refused");
    assert!(matches!(refused, OpenError::Unreachable(_)), "{refused}");
    let nameless = Config { client_cert: None, client_key: None, ..config };
    let refused = postgres::open(&nameless, options(None)).await.err().expect("is refused");
    assert!(matches!(refused, OpenError::Unreachable(_)), "{refused}");
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused_without_a_connection() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let some = write(folder.path(), "empty.pem", "");
    let plain = Config::new("postgres://nobody@127.0.0.1:9/none");
    let cases = [
        Config { client_cert: some.clone(), ..plain.clone() },
        Config { client_cert: some.clone(), client_key: some.clone(), ..plain.clone() },
        Config::new("postgres://nobody@127.0.0.1:9/none?sslmode=require"),
    ];
    for config in cases {
        let refused = postgres::open(&config, options(None)).await.err().expect("is refused");
        assert!(matches!(refused, OpenError::Setting(_)), "{refused}");
    }
    let empty = Config { ca: some.clone(), ..plain };
    let refused = postgres::open(&empty, options(None)).await.err().expect("is refused");
    assert!(matches!(&refused, OpenError::File { path, .. } if Some(path) == some.as_ref()));
}
