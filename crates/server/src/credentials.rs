//! The root credential: given by two variables, or made at the first start and kept in the data
//! folder.
//!
//! Invariants: the file is complete or absent (written aside, synced, renamed), readable by its
//! owner only, and never written again once it exists; a secret never reaches a log.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use store::Entropy;
use wire::sigv4::{KeyRing, SecretKey};
use zeroize::Zeroizing;

/// The file in the data folder, and where it is written before it gets that name.
const FILE: &str = "credentials";
const FILE_ASIDE: &str = "credentials.new";
/// Readable and writable by the owner, by nobody else.
const FILE_MODE: u32 = 0o600;
const ACCESS_KEY_ID_KEY: &str = "access_key_id";
const SECRET_ACCESS_KEY_KEY: &str = "secret_access_key";

/// A made access key id says whose it is and has the length of a real one.
const MADE_ID_PREFIX: &str = "CAMPANILE";
const MADE_ID_RANDOM_CHARS: usize = 11;
/// Five bits a character: 200 bits.
const MADE_SECRET_CHARS: usize = 40;
/// 32 characters, so that five random bits choose one without bias.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ACCESS_KEY_ID_CHARS_MAX: usize = 128;
const SECRET_CHARS_MAX: usize = 256;

/// An access key id and its secret.
#[derive(Clone)]
pub(crate) struct Credential {
    access_key_id: String,
    secret_access_key: SecretKey,
}

/// Why the credential cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("{} does not hold a credential", .0.display())]
    Malformed(PathBuf),
}

impl Credential {
    /// Checks a pair; the problem never repeats the secret.
    pub(crate) fn new(access_key_id: &str, secret_access_key: &str) -> Result<Self, String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if access_key_id.is_empty()
            || access_key_id.len() > ACCESS_KEY_ID_CHARS_MAX
            || !access_key_id.chars().all(word)
        {
            return Err("the access key id may hold letters, digits, _ and - only".to_owned());
        }
        let printable = |c: char| c.is_ascii_graphic() && c != '\'';
        if secret_access_key.is_empty()
            || secret_access_key.len() > SECRET_CHARS_MAX
            || !secret_access_key.chars().all(printable)
        {
            return Err("the secret may hold printable ASCII without blanks and ' only".to_owned());
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: SecretKey::new(secret_access_key),
        })
    }

    /// Makes a new one.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        let id = random_text(entropy, MADE_ID_RANDOM_CHARS);
        Self {
            access_key_id: format!("{MADE_ID_PREFIX}{id}"),
            secret_access_key: SecretKey::new(random_text(entropy, MADE_SECRET_CHARS)),
        }
    }

    /// Returns the one that `folder` keeps, if it keeps one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => parse(&Zeroizing::new(text)).map(Some).ok_or(Error::Malformed(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Read(path, error)),
        }
    }

    /// Returns the one that `folder` keeps, making it first where there is none. The caller holds
    /// the lock of the folder.
    pub(crate) fn read_or_make(folder: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        if let Some(kept) = Self::read(folder)? {
            return Ok(kept);
        }
        let made = Self::generate(entropy);
        let aside = folder.join(FILE_ASIDE);
        made.write(folder, &aside).map_err(|error| {
            // What is left aside is of no use; the first error is the one to tell.
            let _ = fs::remove_file(&aside);
            Error::Write(folder.join(FILE), error)
        })?;
        Ok(made)
    }

    fn write(&self, folder: &Path, aside: &Path) -> io::Result<()> {
        // A crash between writing and renaming leaves this file, which nobody was told of.
        if let Err(error) = fs::remove_file(aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(aside)?;
        let text = Zeroizing::new(format!(
            "{ACCESS_KEY_ID_KEY}={}\n{SECRET_ACCESS_KEY_KEY}={}\n",
            self.access_key_id,
            self.secret_access_key.expose()
        ));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(aside, folder.join(FILE))?;
        fs::File::open(folder)?.sync_all()
    }

    /// Returns the two lines that a shell evaluates to use this credential.
    pub(crate) fn to_exports(&self) -> String {
        format!(
            "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
            self.access_key_id,
            shell_word(self.secret_access_key.expose())
        )
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

/// The root credential is the only key of this version.
impl KeyRing for Credential {
    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        // An access key id is public, so that its comparison needs no constant time.
        (access_key_id == self.access_key_id).then(|| self.secret_access_key.clone())
    }
}

fn parse(text: &str) -> Option<Credential> {
    let mut lines = text.lines();
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix('=');
    let access_key_id = value(ACCESS_KEY_ID_KEY)?;
    let secret_access_key = value(SECRET_ACCESS_KEY_KEY)?;
    Credential::new(access_key_id, secret_access_key).ok()
}

fn random_text(entropy: &dyn Entropy, chars: usize) -> String {
    let mut bytes = Zeroizing::new(vec![0; chars]);
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// Quotes a word for a shell when it holds more than the characters of keys. `Credential::new`
/// refuses the quote itself.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=_-.".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use store::SeededEntropy;

    use super::*;

    #[test]
    fn a_made_credential_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Credential::read(folder.path()).unwrap().is_none());
        let made = Credential::read_or_make(folder.path(), &SeededEntropy::new(1)).unwrap();
        let again = Credential::read_or_make(folder.path(), &SeededEntropy::new(2)).unwrap();
        assert_eq!(made.to_exports(), again.to_exports());
        assert_eq!(made.access_key_id.len(), 20);
        assert_eq!(made.secret_access_key.expose().len(), MADE_SECRET_CHARS);
    }

    #[test]
    fn only_the_owner_may_read_the_file_and_nothing_is_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_ASIDE), "half").unwrap();
        Credential::read_or_make(folder.path(), &SeededEntropy::new(1)).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        assert!(!folder.path().join(FILE_ASIDE).exists());
    }

    #[test]
    fn a_broken_file_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "access_key_id=A\n", "access_key_id=A\nsecret_access_key=\n", "\0"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = Credential::read_or_make(folder.path(), &SeededEntropy::new(1));
            assert!(matches!(error, Err(Error::Malformed(_))), "{text:?}");
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }

    #[test]
    fn exports_are_words_of_a_shell() {
        let plain = Credential::new("AK_1", "abc/+=").unwrap();
        assert_eq!(
            plain.to_exports(),
            "export AWS_ACCESS_KEY_ID=AK_1\nexport AWS_SECRET_ACCESS_KEY=abc/+=\n"
        );
        let odd = Credential::new("AK", "a$b;c").unwrap();
        assert!(odd.to_exports().ends_with("export AWS_SECRET_ACCESS_KEY='a$b;c'\n"));
    }

    #[test]
    fn pairs_that_no_client_could_send_are_refused_without_the_secret() {
        for (id, secret) in [("", "s"), ("a/b", "s"), ("a", ""), ("a", "top secret"), ("a", "'")] {
            let problem = Credential::new(id, secret).expect_err("the pair is of no use");
            assert!(!problem.contains("top"), "{problem}");
        }
        assert_eq!(format!("{:?}", Credential::new("id", "hush").unwrap()), "Credential(***)");
    }

    #[test]
    fn only_its_own_access_key_id_has_a_secret() {
        let credential = Credential::new("mine", "secret").unwrap();
        assert!(credential.secret("mine").is_some());
        assert!(credential.secret("other").is_none());
    }
}
