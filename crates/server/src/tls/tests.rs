use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

fn source(folder: &Path) -> Source {
    Source::SelfSigned { folder: folder.to_owned() }
}

/// A client that trusts the authority in `folder` and nothing else.
fn client(folder: &Path, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(folder.join(self_signed::CA_FILE)).unwrap() {
        roots.add(authority.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Returns the protocol that was agreed on and the leaf that was shown, when `name` is believed.
async fn shown(tls: &Tls, client: &TlsConnector, name: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    let serve = async {
        let mut transport = tls.accept(accepted).await?;
        transport.write_all(b"x").await?;
        transport.flush().await
    };
    let ask = async {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut stream = client.connect(name, stream).await?;
        stream.read_u8().await?;
        let (_, connection) = stream.get_ref();
        let alpn = connection.alpn_protocol().unwrap_or_default().to_vec();
        Ok((alpn, connection.peer_certificates().unwrap_or_default()[0].to_vec()))
    };
    let (_, asked) = tokio::join!(serve, ask);
    asked
}

#[tokio::test]
async fn a_made_certificate_is_good_for_loopback_and_the_public_host_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(&source(folder.path()), Some("chat.example.org")).unwrap();
    let client = client(folder.path(), &[b"h2", b"http/1.1"]);
    for name in ["localhost", "127.0.0.1", "::1", "chat.example.org"] {
        let (alpn, _) = shown(&tls, &client, name).await.expect(name);
        assert_eq!(alpn, ALPN, "{name}");
    }
    assert!(shown(&tls, &client, "other.example.org").await.is_err());
}

#[tokio::test]
async fn the_authority_survives_a_restart_and_its_key_is_the_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    Tls::open(&source(path), None).unwrap();
    let first = fs::read_to_string(path.join(self_signed::CA_FILE)).unwrap();
    let client = client(path, &[]);
    let again = Tls::open(&source(path), None).unwrap();
    assert!(shown(&again, &client, "localhost").await.is_ok());
    assert_eq!(fs::read_to_string(path.join(self_signed::CA_FILE)).unwrap(), first);
    let mode = fs::metadata(path.join("tls-ca-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Writes a chain and a key of a new certificate by the authority of `folder`.
fn write_files(folder: &Path, cert: &Path, key: &Path) {
    let made = SelfSigned::read_or_make(folder).unwrap().identity(None).unwrap();
    let PrivateKeyDer::Pkcs8(secret) = made.key else { unreachable!("keys are made as PKCS 8") };
    let pem = |label: &str, bytes: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    fs::write(cert, pem("CERTIFICATE", &made.chain[0])).unwrap();
    fs::write(key, pem("PRIVATE KEY", secret.secret_pkcs8_der())).unwrap();
}

#[tokio::test]
async fn files_are_read_again_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_files(folder.path(), &cert, &key);
    let client = client(folder.path(), &[]);
    let tls = Tls::open(&Source::Files { cert: cert.clone(), key: key.clone() }, None).unwrap();
    let (_, first) = shown(&tls, &client, "localhost").await.unwrap();
    fs::write(&cert, "no certificate").unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(shown(&tls, &client, "localhost").await.unwrap().1, first);
    write_files(folder.path(), &cert, &key);
    tls.reload().unwrap();
    assert_ne!(shown(&tls, &client, "localhost").await.unwrap().1, first);
}

#[test]
fn files_that_are_missing_empty_or_of_two_pairs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_files(folder.path(), &path("a"), &path("a-key"));
    write_files(folder.path(), &path("b"), &path("b-key"));
    fs::write(path("empty"), "").unwrap();
    for (cert, key) in [("missing", "a-key"), ("a", "missing"), ("empty", "a-key"), ("a", "b-key")]
    {
        let source = Source::Files { cert: path(cert), key: path(key) };
        assert!(Tls::open(&source, None).is_err(), "{cert} {key}");
    }
}
