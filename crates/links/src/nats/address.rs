//! The URL of NATS: servers, and perhaps how they are entered.
//!
//! Invariant: what is secret leaves the addresses, which may be shown, and stands in one place alone.

use async_nats::ServerAddr;
use zeroize::Zeroizing;

use super::{OpenError, Options, Servers};

/// How the servers are entered.
#[derive(Clone)]
pub(super) enum Entry {
    Open,
    Password(String, Zeroizing<String>),
    Token(Zeroizing<String>),
}

pub(super) struct Addresses {
    pub(super) servers: Servers,
    pub(super) entry: Entry,
}

/// Reads the URL; what the other options say of user, password and token wins over it.
pub(super) fn read(options: &Options) -> Result<Addresses, OpenError> {
    let mut servers = Vec::new();
    let mut entry = Entry::Open;
    for url in options.url.split(',').map(str::trim) {
        let (shown, within) = split(url)?;
        let server: ServerAddr = shown.parse().map_err(|_| OpenError::Url)?;
        servers.push(server);
        if let (Entry::Open, Some(within)) = (&entry, within) {
            entry = within;
        }
    }
    match (&options.user, &options.password, &options.token) {
        (None, None, None) => {}
        (Some(user), Some(password), None) => {
            entry = Entry::Password(user.clone(), password.clone());
        }
        (None, None, Some(token)) => entry = Entry::Token(token.clone()),
        (_, _, Some(_)) => {
            return Err(OpenError::Setting("NATS takes a token or a user and password, not both"));
        }
        _ => return Err(OpenError::Setting("the user of NATS and the password go together")),
    }
    Ok(Addresses { servers, entry })
}

/// Parts a URL into what may be shown and how the server is entered.
fn split(url: &str) -> Result<(String, Option<Entry>), OpenError> {
    let (scheme, rest) = url.split_once("://").ok_or(OpenError::Url)?;
    if !matches!(scheme, "nats" | "tls") || rest.is_empty() {
        return Err(OpenError::Url);
    }
    let Some((within, host)) = rest.rsplit_once('@') else { return Ok((url.to_owned(), None)) };
    if host.is_empty() {
        return Err(OpenError::Url);
    }
    let entry = match within.split_once(':') {
        Some((user, password)) => {
            Entry::Password(decoded(user)?, Zeroizing::new(decoded(password)?))
        }
        None => Entry::Token(Zeroizing::new(decoded(within)?)),
    };
    Ok((format!("{scheme}://{host}"), Some(entry)))
}

/// Decodes `%XX`.
fn decoded(text: &str) -> Result<String, OpenError> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()));
        let digits = digits.ok_or(OpenError::Url)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| OpenError::Url)?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| OpenError::Url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_url(url: &str) -> Result<Addresses, OpenError> {
        read(&Options { url: Zeroizing::new(url.to_owned()), ..Options::default() })
    }

    #[test]
    fn password_and_token_leave_the_address() {
        let found = read_url("nats://ann:p%40ss@one:4222,nats://two:4223").expect("is a URL");
        assert!(matches!(&found.entry, Entry::Password(user, password)
            if user == "ann" && password.as_str() == "p@ss"));
        let shown: Vec<String> = found.servers.iter().map(|it| format!("{it:?}")).collect();
        assert!(shown.iter().all(|it| !it.contains("p@") && !it.contains("p%40")), "{shown:?}");
        let found = read_url("tls://t0ken@one:4222").expect("is a URL");
        assert!(matches!(&found.entry, Entry::Token(token) if token.as_str() == "t0ken"));
        assert!(matches!(read_url("nats://one").expect("is a URL").entry, Entry::Open));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "one:4222",
            "http://one",
            "nats://",
            "nats://a:%zz@one",
            "nats://a:b@",
            "nats://one,",
        ] {
            assert!(matches!(read_url(url), Err(OpenError::Url)), "{url}");
        }
    }

    #[test]
    fn settings_win_over_the_url_and_go_together() {
        let secret = || Some(Zeroizing::new("hidden".to_owned()));
        let url = Zeroizing::new("nats://a:b@one".to_owned());
        let options = Options { url, token: secret(), ..Options::default() };
        assert!(matches!(read(&options).expect("fits").entry, Entry::Token(_)));
        assert!(!format!("{options:?}").contains("hidden"));
        let both = Options { user: Some("a".into()), password: secret(), ..options.clone() };
        assert!(matches!(read(&both), Err(OpenError::Setting(_))));
        let half = Options { user: Some("a".into()), token: None, ..options };
        assert!(matches!(read(&half), Err(OpenError::Setting(_))));
    }
}
