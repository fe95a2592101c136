//! TLS for the API listener: which certificate it shows, and how that is renewed.
//!
//! Invariants: a handshake takes the certificate that was read last, and one that cannot be read
//! never replaces one that can; clients are offered HTTP/1.1 alone, because a WebSocket needs it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::transport::Transport;

mod self_signed;

pub(crate) use self_signed::SelfSigned;

const ALPN: &[u8] = b"http/1.1";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// PEM files: the chain, leaf first, and its key.
    Files { cert: PathBuf, key: PathBuf },
    /// Made at each start, by an authority that is kept in this folder.
    SelfSigned { folder: PathBuf },
    /// Made at each start, by an authority that is made with it and kept nowhere.
    OfThisRun,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] pem::Error),
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    #[error("{} and its key do not make a certificate to show", .0.display())]
    Unusable(PathBuf, #[source] rustls::Error),
    #[error("cannot keep the authority in {}", .0.display())]
    Keep(PathBuf, #[source] io::Error),
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// A chain and its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Takes handshakes.
pub(crate) struct Tls {
    acceptor: Mutex<TlsAcceptor>,
    /// The files that are read again when the operator asks for it.
    files: Option<(PathBuf, PathBuf)>,
    /// The certificate of an authority that ends with this run.
    authority: Option<String>,
}

impl Tls {
    /// Reads or makes the certificate. `host` is the public host, if one is configured.
    pub(crate) fn open(source: &Source, host: Option<&str>) -> Result<Self, Error> {
        let (mut files, mut authority) = (None, None);
        let acceptor = match source {
            Source::Files { cert, key } => {
                files = Some((cert.clone(), key.clone()));
                acceptor(read(cert, key)?, cert)?
            }
            Source::SelfSigned { folder } => {
                acceptor(SelfSigned::read_or_make(folder)?.identity(host)?, folder)?
            }
            Source::OfThisRun => {
                let made = SelfSigned::make()?;
                authority = Some(made.cert_pem().to_owned());
                acceptor(made.identity(host)?, Path::new(self_signed::CA_FILE))?
            }
        };
        Ok(Self { acceptor: Mutex::new(acceptor), files, authority })
    }

    /// Returns the authority that clients are to trust, where no file has it.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Whether there are files to read again.
    pub(crate) fn is_reloadable(&self) -> bool {
        self.files.is_some()
    }

    /// Reads the files again; later handshakes show what they hold now.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        if let Some((cert, key)) = &self.files {
            let renewed = acceptor(read(cert, key)?, cert)?;
            *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
        }
        Ok(())
    }

    /// Takes the handshake of one connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Transport> {
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Transport::Tls(Box::new(acceptor.accept(stream).await?)))
    }
}

fn read(cert: &Path, key: &Path) -> Result<Identity, Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| Error::Read(cert.to_owned(), error))?;
    if chain.is_empty() {
        return Err(Error::Empty(cert.to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| Error::Read(key.to_owned(), error))?;
    Ok(Identity { chain, key })
}

/// `origin` is named when the chain and the key do not fit.
fn acceptor(identity: Identity, origin: &Path) -> Result<TlsAcceptor, Error> {
    let unusable = |error| Error::Unusable(origin.to_owned(), error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
