//! What ARNs name, and the checks that come before any rule.

use super::{BAD_REQUEST, FORBIDDEN, Model, Person, Refusal, Written};

/// What an ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    AppInstance,
    User,
    Bot,
    Channel,
    ChannelFlow,
    /// Nothing of this service.
    Other,
}

pub(crate) fn kind_of(arn: &str) -> Kind {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let mut parts = resource.split('/');
    match (parts.next(), parts.next().is_some(), parts.next()) {
        (Some("app-instance"), true, None) => Kind::AppInstance,
        (Some("app-instance"), true, Some("user")) => Kind::User,
        (Some("app-instance"), true, Some("bot")) => Kind::Bot,
        (Some("app-instance"), true, Some("channel")) => Kind::Channel,
        (Some("app-instance"), true, Some("channel-flow")) => Kind::ChannelFlow,
        _ => Kind::Other,
    }
}

/// Returns the ARN of the app instance in which a resource is.
pub(crate) fn app_instance_of(arn: &str) -> String {
    arn.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}

impl Model {
    /// Returns the live user or bot as he is written into records.
    pub(super) fn written(&self, arn: &str) -> Option<Written> {
        let person = self.people.get(arn)?;
        Some(Written { arn: arn.to_owned(), life: person.life, name: person.name.clone() })
    }

    /// Returns the live person of this app instance whom an input names.
    pub(super) fn require_person(&self, app_instance: &str, arn: &str) -> Result<Written, Refusal> {
        let inside = app_instance_of(arn) == app_instance;
        self.written(arn).filter(|_| inside).ok_or(FORBIDDEN)
    }

    /// Returns the live user that a request is about.
    pub(super) fn require_user(&mut self, arn: &str) -> Result<&mut Person, Refusal> {
        if !matches!(kind_of(arn), Kind::User | Kind::Other) {
            return Err(BAD_REQUEST);
        }
        self.people.get_mut(arn).ok_or(FORBIDDEN)
    }

    /// Returns the life of the app instance that a request is about.
    pub(super) fn require_app_instance(&self, arn: &str) -> Result<u64, Refusal> {
        if !matches!(kind_of(arn), Kind::AppInstance | Kind::Other) {
            return Err(BAD_REQUEST);
        }
        self.app_instances.get(arn).map(|app_instance| app_instance.life).ok_or(FORBIDDEN)
    }

    /// Returns the ARN of the live channel that a request is about, one of the caller's.
    pub(super) fn require_channel(&self, caller: &Written, arn: &str) -> Result<String, Refusal> {
        if !matches!(kind_of(arn), Kind::Channel | Kind::Other) {
            return Err(BAD_REQUEST);
        }
        let inside = app_instance_of(&caller.arn) == app_instance_of(arn);
        if inside && self.channels.contains_key(arn) { Ok(arn.to_owned()) } else { Err(FORBIDDEN) }
    }
}
