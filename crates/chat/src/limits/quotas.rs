//! What the operator made of the count quotas.
//!
//! Invariant: a quota that is not set has its default, and a name that is none is refused, so that
//! no wish of the operator is dropped in silence.

use std::collections::BTreeMap;

use super::{ALL, Quota};

/// The highest value that a quota can be set to; no store holds as much.
const QUOTA_MAX: i64 = 1_000_000_000_000;

/// The count quotas of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Those that were set, by label.
    set: BTreeMap<&'static str, i64>,
}

/// A quota as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedQuota {
    /// The name by which it is set, in kebab-case.
    pub name: String,
    /// The most that may exist.
    pub max: i64,
    /// What is counted below what.
    pub noun: &'static str,
}

/// Why a quota cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// There is no quota of this name.
    #[error("{0} is not a quota")]
    UnknownName(String),
    /// The value is out of range.
    #[error("{0} is not a count from 0 to {QUOTA_MAX}")]
    OutOfRange(i64),
}

impl Quotas {
    /// Sets the quota that is called `name`.
    ///
    /// # Errors
    /// When there is none of this name, or when the value is out of range.
    pub fn set(&mut self, name: &str, max: i64) -> Result<(), QuotaError> {
        let quota = ALL.into_iter().find(|quota| quota.name() == name);
        let quota = quota.ok_or_else(|| QuotaError::UnknownName(name.to_owned()))?;
        if !(0..=QUOTA_MAX).contains(&max) {
            return Err(QuotaError::OutOfRange(max));
        }
        self.set.insert(quota.label, max);
        Ok(())
    }

    /// Returns every quota with its value.
    pub fn list(&self) -> impl Iterator<Item = NamedQuota> {
        ALL.into_iter().map(|quota| NamedQuota {
            name: quota.name(),
            max: self.max(quota),
            noun: quota.noun,
        })
    }

    pub(crate) fn max(&self, quota: &Quota) -> i64 {
        self.set.get(quota.label).copied().unwrap_or(quota.max)
    }
}

impl Quota {
    fn name(&self) -> String {
        self.label.replace('_', "-")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limits::{CHANNELS, USER_MEMBERSHIPS};
    use crate::testing::{LIMIT, World};

    #[test]
    fn a_quota_that_is_not_set_has_its_default() {
        let mut quotas = Quotas::default();
        quotas.set("user-memberships", 3).unwrap();
        assert_eq!(quotas.max(&USER_MEMBERSHIPS), 3);
        assert_eq!(quotas.max(&CHANNELS), CHANNELS.max);
    }

    #[test]
    fn unknown_names_and_values_out_of_range_are_refused() {
        let mut quotas = Quotas::default();
        for name in ["", "user_memberships", "Channels", "channels "] {
            assert_eq!(quotas.set(name, 3), Err(QuotaError::UnknownName(name.to_owned())));
        }
        for max in [-1, QUOTA_MAX + 1, i64::MIN] {
            assert_eq!(quotas.set("channels", max), Err(QuotaError::OutOfRange(max)));
        }
        assert_eq!(quotas, Quotas::default());
        assert!(quotas.set("channels", 0).is_ok() && quotas.set("channels", QUOTA_MAX).is_ok());
    }

    #[test]
    fn every_quota_is_listed_once_under_a_name_that_sets_it() {
        let mut quotas = Quotas::default();
        let names: Vec<String> = quotas.list().map(|quota| quota.name).collect();
        assert_eq!(names.len(), ALL.len());
        for (index, name) in names.iter().enumerate() {
            quotas.set(name, i64::try_from(index).unwrap()).unwrap();
        }
        let values: Vec<i64> = quotas.list().map(|quota| quota.max).collect();
        assert_eq!(values, (0..i64::try_from(ALL.len()).unwrap()).collect::<Vec<_>>());
    }

    /// A world in which `name` has one value and everything else its default.
    async fn world(name: &str, max: i64) -> World {
        let mut quotas = Quotas::default();
        quotas.set(name, max).unwrap();
        World::with_quotas(quotas).await
    }

    #[tokio::test]
    async fn a_quota_that_is_set_is_the_one_that_holds() {
        let body = json!({ "Name": "x", "ClientRequestToken": "one-more" });
        let alone = world("app-instances", 1).await;
        assert_eq!(alone.call("POST", "/app-instances", "", body).await, LIMIT);

        let mut one_user = world("users", 1).await;
        one_user.create_user("alice").await;
        assert_eq!(one_user.try_create_user("bob").await, LIMIT);

        let mut no_admin = world("admins", 0).await;
        let alice = no_admin.create_user("alice").await;
        assert_eq!(no_admin.create_admin(&alice).await, LIMIT);

        let mut one_channel = world("channels", 1).await;
        let alice = one_channel.create_user("alice").await;
        one_channel.create_channel(&alice, json!({})).await;
        assert_eq!(one_channel.try_create_channel(&alice, json!({})).await, LIMIT);
    }

    #[tokio::test]
    async fn quotas_of_a_channel_and_of_a_user_hold_apart() {
        for (name, joins) in [("memberships", [true, false]), ("user-memberships", [false, true])] {
            let mut world = world(name, 2).await;
            let (alice, bob) = (world.create_user("alice").await, world.create_user("bob").await);
            let channel = world.create_channel(&alice, json!({})).await;
            let carol = world.create_user("carol").await;
            assert!(world.join(&channel, &alice, &bob).await.is_ok());
            let third = world.join(&channel, &alice, &carol).await;
            assert_eq!(third.is_err(), joins[0], "{name}");
            world.create_channel(&alice, json!({})).await;
            let fourth = world.try_create_channel(&alice, json!({})).await;
            assert_eq!(fourth.is_err(), joins[1], "{name}");
        }
    }
}
