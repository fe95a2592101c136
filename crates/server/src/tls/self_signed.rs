//! An authority of our own, and the certificates that it signs.
//!
//! Invariants: the authority is made once and survives restarts, so that clients trust it once; its
//! key and its certificate are complete or absent and the key is readable by its owner only; a
//! certificate lives in memory alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::tls::{Error, Identity};

/// The authority's certificate, for clients to trust.
pub(crate) const CA_FILE: &str = "tls-ca.pem";
const CA_KEY_FILE: &str = "tls-ca-key.pem";
const ASIDE: &str = "new";
const KEY_FILE_MODE: u32 = 0o600;
const CA_FILE_MODE: u32 = 0o644;
const CA_DAYS: i64 = 3_650;
/// The longest life that clients accept of a server's certificate.
const LEAF_DAYS: i64 = 397;
/// A client whose clock is a little slow is to accept a certificate that was made just now.
const BACKDATED: Duration = Duration::hours(1);
const ALWAYS_NAMED: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The authority.
pub(crate) struct SelfSigned {
    cert_pem: String,
    key: KeyPair,
}

impl SelfSigned {
    /// Returns the authority that `folder` keeps, making it first where there is none. The caller
    /// is the only one who uses the folder.
    pub(crate) fn read_or_make(folder: &Path) -> Result<Self, Error> {
        let (cert, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
        let keep = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::Keep(path, error)
        };
        if let Some(key_pem) = read(&key).map_err(keep(&key))? {
            // The certificate is written first, so that a key never stands alone.
            let cert_pem = fs::read_to_string(&cert).map_err(keep(&cert))?;
            return Ok(Self { cert_pem, key: KeyPair::from_pem(&key_pem)? });
        }
        let made = Self::make()?;
        fs::create_dir_all(folder).map_err(keep(folder))?;
        write(&cert, &made.cert_pem, CA_FILE_MODE).map_err(keep(&cert))?;
        write(&key, &made.key.serialize_pem(), KEY_FILE_MODE).map_err(keep(&key))?;
        Ok(made)
    }

    /// Makes one that nothing keeps.
    pub(crate) fn make() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = params("Campanile's own authority", CA_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert_pem = params.self_signed(&key)?.pem();
        Ok(Self { cert_pem, key })
    }

    /// Returns its certificate, for clients to trust.
    pub(crate) fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Makes the certificate that the listener shows, for loopback and `host`.
    pub(crate) fn identity(&self, host: Option<&str>) -> Result<Identity, Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, &self.key)?;
        let key = KeyPair::generate()?;
        let mut params = params("campanile", LEAF_DAYS);
        let others = host.filter(|host| !ALWAYS_NAMED.contains(host));
        params.subject_alt_names =
            ALWAYS_NAMED.into_iter().chain(others).map(name).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer)?;
        let authority = CertificateDer::from_pem_slice(self.cert_pem.as_bytes())
            .map_err(|error| Error::Read(CA_FILE.into(), error))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Identity { chain: vec![leaf.der().clone(), authority], key })
    }
}

fn params(common_name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let start = OffsetDateTime::now_utc() - BACKDATED;
    (params.not_before, params.not_after) = (start, start + Duration::days(days));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn name(host: &str) -> Result<SanType, rcgen::Error> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.try_into()?)),
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file aside, then gives it its name.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let aside = path.with_extension(ASIDE);
    // What a crash left there, nobody was told of.
    if let Err(error) = fs::remove_file(&aside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)
}
