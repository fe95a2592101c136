//! ARNs of the messaging namespace: an app instance and what lies directly below it.
//!
//! Invariant: parsing is strict and writing is its exact inverse, so an `Arn` that was parsed
//! prints the text that it came from, and no two texts mean the same resource. Memberships, bans
//! and messages have no ARN of their own.

use std::fmt;
use std::str::FromStr;

/// Longest region name.
const REGION_CHARS_MAX: usize = 63;
/// An account id is this many digits, no more and no fewer.
const ACCOUNT_DIGITS: usize = 12;
/// Longest id of a user, bot, channel, channel flow or app instance.
const ID_CHARS_MAX: usize = 64;

/// Names a resource of an app instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    pub region: String,
    pub account: String,
    pub app_instance: String,
    pub resource: Resource,
}

/// What the ARN names within its app instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    AppInstance,
    User(String),
    Bot(String),
    Channel(String),
    ChannelFlow(String),
}

impl Resource {
    /// Reads what stands behind the app instance and a slash: kind and id.
    #[must_use]
    pub fn below(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once('/')?;
        let resource = match kind {
            "user" => Self::User,
            "bot" => Self::Bot,
            "channel" => Self::Channel,
            "channel-flow" => Self::ChannelFlow,
            _ => return None,
        };
        is_id(id).then(|| resource(id.to_owned()))
    }

    /// The path segment that names the kind, and the id; the app instance itself has neither.
    fn parts(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::AppInstance => None,
            Self::User(id) => Some(("user", id)),
            Self::Bot(id) => Some(("bot", id)),
            Self::Channel(id) => Some(("channel", id)),
            Self::ChannelFlow(id) => Some(("channel-flow", id)),
        }
    }
}

/// The text is not an ARN of this namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnArn;

impl fmt::Display for NotAnArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an ARN of the chime namespace")
    }
}

impl std::error::Error for NotAnArn {}

impl FromStr for Arn {
    type Err = NotAnArn;

    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        parse(text).ok_or(NotAnArn)
    }
}

fn parse(text: &str) -> Option<Arn> {
    let rest = text.strip_prefix("arn:aws:chime:")?;
    let (region, rest) = rest.split_once(':')?;
    let (account, rest) = rest.split_once(':')?;
    let path = rest.strip_prefix("app-instance/")?;
    let (app_instance, resource) = match path.split_once('/') {
        None => (path, Resource::AppInstance),
        Some((app_instance, below)) => (app_instance, Resource::below(below)?),
    };
    let is_right = is_region(region) && is_account(account) && is_id(app_instance);
    is_right.then(|| Arn {
        region: region.to_owned(),
        account: account.to_owned(),
        app_instance: app_instance.to_owned(),
        resource,
    })
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, account, app_instance, resource } = self;
        write!(f, "arn:aws:chime:{region}:{account}:app-instance/{app_instance}")?;
        match resource.parts() {
            Some((kind, id)) => write!(f, "/{kind}/{id}"),
            None => Ok(()),
        }
    }
}

fn is_region(text: &str) -> bool {
    (1..=REGION_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the text is an id: letters and digits, with `: - _ . @` allowed anywhere but at an end.
fn is_id(text: &str) -> bool {
    let [first, .., last] = text.as_bytes() else {
        return text.len() == 1 && text.as_bytes()[0].is_ascii_alphanumeric();
    };
    text.len() <= ID_CHARS_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && text.bytes().all(is_of_id)
}

fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "arn:aws:chime:us-east-1:111122223333:app-instance/0a1b2c3d-0000";

    #[test]
    fn each_kind_of_resource_is_read() {
        let resource = |tail: &str| format!("{APP}{tail}").parse::<Arn>().map(|arn| arn.resource);
        assert_eq!(resource(""), Ok(Resource::AppInstance));
        assert_eq!(resource("/user/alice"), Ok(Resource::User("alice".into())));
        assert_eq!(resource("/bot/b-1"), Ok(Resource::Bot("b-1".into())));
        assert_eq!(resource("/channel/c"), Ok(Resource::Channel("c".into())));
        assert_eq!(resource("/channel-flow/f"), Ok(Resource::ChannelFlow("f".into())));
        let arn: Arn = APP.parse().unwrap();
        assert_eq!(arn.region, "us-east-1");
        assert_eq!(arn.account, "111122223333");
        assert_eq!(arn.app_instance, "0a1b2c3d-0000");
    }

    #[test]
    fn every_legal_id_survives_the_round_trip_in_every_place() {
        let mut ids = vec![
            "a".to_owned(),
            "us-east-1:1b2e-77".to_owned(),
            "first.last_2@example.com".to_owned(),
            "7".repeat(64),
        ];
        // Each mark of the class between each pair of ends, at growing lengths.
        for mark in ":-_.@".chars() {
            for (first, last) in [('a', 'Z'), ('0', '9'), ('Q', '0')] {
                for length in [1, 2, 31, 62] {
                    let middle: String = std::iter::repeat_n(mark, length).collect();
                    ids.push(format!("{first}{middle}{last}"));
                }
            }
        }
        for id in &ids {
            for resource in [
                Resource::AppInstance,
                Resource::User(id.clone()),
                Resource::Bot(id.clone()),
                Resource::Channel(id.clone()),
                Resource::ChannelFlow(id.clone()),
            ] {
                let arn = Arn {
                    region: "eu-central-1".into(),
                    account: "000000000000".into(),
                    app_instance: id.clone(),
                    resource,
                };
                let text = arn.to_string();
                assert_eq!(text.parse(), Ok(arn), "{text}");
            }
        }
    }

    #[test]
    fn bytes_outside_the_class_are_refused_anywhere_in_an_id() {
        for byte in (0..=127u8).filter(|byte| !byte.is_ascii_alphanumeric()) {
            let mark = char::from(byte);
            let inside = format!("{APP}/user/a{mark}b").parse::<Arn>();
            assert_eq!(inside.is_ok(), ":-_.@".contains(mark), "{mark:?}");
            assert_eq!(format!("{APP}/user/{mark}b").parse::<Arn>(), Err(NotAnArn), "{mark:?}");
            assert_eq!(format!("{APP}/user/a{mark}").parse::<Arn>(), Err(NotAnArn), "{mark:?}");
        }
        assert_eq!(format!("{APP}/user/aéb").parse::<Arn>(), Err(NotAnArn));
        assert_eq!(format!("{APP}/user/{}", "a".repeat(65)).parse::<Arn>(), Err(NotAnArn));
    }

    #[test]
    fn other_texts_are_not_arns() {
        for text in [
            "",
            "arn",
            "arn:aws:chime",
            "arn:aws:chime:us-east-1:111122223333:app-instance/",
            "arn:aws:chime:us-east-1:111122223333:app-instance",
            "arn:aws:chime::111122223333:app-instance/x",
            "arn:aws:chime:us-east-1::app-instance/x",
            "arn:aws:chime:us-east-1:11112222333:app-instance/x",
            "arn:aws:chime:us-east-1:1111222233334:app-instance/x",
            "arn:aws:chime:US-EAST-1:111122223333:app-instance/x",
            "arn:aws-cn:chime:us-east-1:111122223333:app-instance/x",
            "arn:aws:sns:us-east-1:111122223333:app-instance/x",
            "ARN:aws:chime:us-east-1:111122223333:app-instance/x",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/user",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/user/",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/User/a",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/user/a/b",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/membership/a",
            "arn:aws:chime:us-east-1:111122223333:app-instance/x/user/a ",
        ] {
            assert_eq!(text.parse::<Arn>(), Err(NotAnArn), "{text}");
        }
    }
}
