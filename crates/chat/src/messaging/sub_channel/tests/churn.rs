//! Members who come, go, are banned, promoted and moved in any order, on two nodes, beside a model of
//! who is in the channel.
//!
//! A step of a job is prepared by one node and committed after something else has happened, or in one
//! go. What is held after everything that happens: each plain member is in exactly one sub-channel, and in one
//! that has a record; none has more plain members than the target; one that is marked as full is;
//! nobody is refused for want of room while there is some; whoever is in another sub-channel than before
//! was told so once, and nobody else was. In the end nothing is draining, what went has left no
//! membership, and no small sub-channel is left whose members have room elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use store::{Direction, Key, Range, Record, SeededEntropy, Txn, Uid};

use super::{add_to, below};
use crate::Chat;
use crate::job::tests::first_job;
use crate::job::{JOB, commit};
use crate::limits::{BALANCE_DELAY_MS, BALANCE_REST_MS};
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::sub_channel::{ElasticMember, State, SubChannel, SubChannelList, count_key};
use crate::testing::{CONFLICT, FORBIDDEN, LIMIT, World, text};

const USERS: usize = 22;
const MAXIMUM: usize = 5;
const TARGET: usize = 4;
const MINIMUM: usize = 2;
const ROUNDS: usize = 220;
/// How often all rows are proved.
const ROUNDS_PER_CHECK: usize = 20;

/// A user as the model has him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Out,
    Member,
    Moderator,
    Banned,
}

struct Churn {
    world: World,
    other: Chat,
    dice: SeededEntropy,
    channel: String,
    owner: String,
    users: Vec<(String, Uid, Role)>,
    /// A step that another node has prepared and not committed yet.
    prepared: Option<Txn>,
    moves: usize,
}

/// Who is where: sub-channel by user, of plain members.
type Places = BTreeMap<Uid, Uid>;

impl Churn {
    async fn new(seed: u64) -> Self {
        let mut world = World::new().await;
        let owner = world.create_user("owner").await;
        assert!(world.create_admin(&owner).await.is_ok());
        let elastic = json!({ "MaximumSubChannels": MAXIMUM,
            "TargetMembershipsPerSubChannel": TARGET, "MinimumMembershipPercentage": 40 });
        let more = json!({ "ElasticChannelConfiguration": elastic });
        let channel = world.create_channel(&owner, more).await;
        let mut users = Vec::new();
        for index in 0..USERS {
            let user = world.create_user(&format!("user-{index}")).await;
            users.push((user.clone(), world.uid_of(&user).await, Role::Out));
        }
        let other = world.other_node().await;
        world.heard();
        let dice = SeededEntropy::new(seed);
        Self { world, other, dice, channel, owner, users, prepared: None, moves: 0 }
    }

    fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("is small");
        usize::try_from(self.dice.next_u64() % bound).expect("below the bound")
    }

    async fn records<R: Record>(&self) -> Vec<R> {
        let all = Range::prefix(Key::new(R::TABLE));
        let view = self.world.chat.0.store.view();
        let rows = view.list(&all, usize::MAX, Direction::Forward).await.expect("is read");
        rows.iter().map(|row| row.decode().expect("is readable")).collect()
    }

    async fn count(&self, sub_channel: Uid) -> usize {
        let count = self.world.chat.0.store.view().count(&count_key(sub_channel)).await;
        usize::try_from(count.expect("is read")).expect("is not negative")
    }

    async fn list(&self) -> Vec<Uid> {
        let lists = self.records::<SubChannelList>().await;
        lists.into_iter().flat_map(|list| list.sub_channels).collect()
    }

    fn is_moderator(&self, user: Uid) -> bool {
        self.users.iter().any(|(_, uid, role)| *uid == user && *role == Role::Moderator)
    }

    /// Something that a user or his moderator does.
    async fn act(&mut self) {
        let index = self.below(USERS);
        let (user, uid, role) = self.users[index].clone();
        let (channel, owner) = (self.channel.clone(), self.owner.clone());
        let new = match (self.below(12), role) {
            (0..=5, Role::Out) => self.join(&user).await,
            (0..=1, Role::Member) => {
                assert!(self.world.leave(&channel, &user, &user).await.is_ok());
                Role::Out
            }
            (2, Role::Member) | (6, Role::Out) => {
                assert!(self.world.ban(&channel, &owner, &user).await.is_ok());
                Role::Banned
            }
            (3..=6, Role::Banned) => {
                assert_eq!(self.world.join(&channel, &owner, &user).await, FORBIDDEN);
                assert!(self.world.lift_ban(&channel, &owner, &user).await.is_ok());
                Role::Out
            }
            (3, Role::Member) | (7, Role::Out) => {
                assert!(self.world.promote(&channel, &owner, &user).await.is_ok());
                Role::Moderator
            }
            (7, Role::Moderator) => {
                assert!(self.world.demote(&channel, &owner, &user).await.is_ok());
                Role::Out
            }
            (0..=4, Role::Moderator) => self.choose(&user).await,
            (_, Role::Member) => self.send(&user, uid).await,
            (_, role) => role,
        };
        self.users[index].2 = new;
    }

    async fn join(&mut self, user: &str) -> Role {
        let outcome = self.world.join(&self.channel, &self.owner, user).await;
        if outcome == LIMIT {
            let list = self.list().await;
            assert_eq!(list.len(), MAXIMUM, "there may be another sub-channel");
            for sub_channel in list {
                assert!(self.count(sub_channel).await >= TARGET, "there is room");
            }
            return Role::Out;
        }
        assert!(text(&outcome.expect("is added")["SubChannelId"]).len() > 30);
        Role::Member
    }

    /// A moderator comes into a sub-channel, or leaves all.
    async fn choose(&mut self, user: &str) -> Role {
        if self.below(3) == 0 {
            let outcome = self.world.leave(&self.channel, user, user).await;
            assert!(outcome.is_ok() || outcome == FORBIDDEN);
            return Role::Moderator;
        }
        let list = self.list().await;
        let sub_channel = crate::ids::uuid_text(list[self.below(list.len())]);
        let outcome = add_to(&self.world, &self.channel, user, user, &sub_channel).await;
        assert!(outcome.is_ok() || outcome == CONFLICT, "{outcome:?}");
        Role::Moderator
    }

    async fn send(&mut self, user: &str, uid: Uid) -> Role {
        let place = self.places().await[&uid];
        let to = json!({ "SubChannelId": crate::ids::uuid_text(place) });
        assert!(self.world.send_with(&self.channel, user, to).await.is_ok());
        Role::Member
    }

    /// A node does a step, or prepares one for later.
    async fn work(&mut self) {
        match self.below(6) {
            0 => self.world.clock.advance(ms(BALANCE_DELAY_MS)),
            1 if self.below(4) == 0 => self.world.clock.advance(ms(BALANCE_REST_MS)),
            2 if self.prepared.is_none() && self.world.row_count(&JOB).await > 0 => {
                let job = first_job(&self.world).await;
                self.prepared = self.other.prepare(&job).await.expect("is read");
            }
            3 => {
                if let Some(step) = self.prepared.take() {
                    commit(step, "job_step").await.expect("is judged");
                }
            }
            _ => drop(self.world.chat.run_job_step().await.expect("is done")),
        }
    }

    /// Returns where the plain members are, each in one sub-channel.
    async fn places(&self) -> Places {
        let mut places = Places::new();
        for record in self.records::<ElasticMember>().await {
            let member = record.member;
            if self.is_moderator(member) {
                continue;
            }
            let [place] = record.sub_channels[..] else { panic!("{record:?}") };
            assert!(places.insert(member, place).is_none());
        }
        places
    }

    /// Holds what is true at any time.
    async fn prove(&self, places: &Places) {
        let is_member = |&&(_, _, role): &&(String, Uid, Role)| role == Role::Member;
        let members = self.users.iter().filter(is_member).map(|(_, uid, _)| *uid);
        assert_eq!(places.keys().copied().collect::<BTreeSet<_>>(), members.collect());
        let list: BTreeSet<Uid> = self.list().await.into_iter().collect();
        let records = self.records::<SubChannel>().await;
        assert_eq!(records.iter().map(|record| record.uid).collect::<BTreeSet<_>>(), list);
        assert!(!list.is_empty() && list.len() <= MAXIMUM);
        let mut counts: BTreeMap<Uid, usize> = list.iter().map(|uid| (*uid, 0)).collect();
        for membership in self.records::<ChannelMembership>().await {
            let (home, member) = (membership.home(), membership.member.uid);
            assert!(self.is_moderator(member) || places.get(&member) == Some(&home));
            *counts.get_mut(&home).expect("nobody is in one that is gone") += 1;
        }
        for record in &records {
            let plain = places.values().filter(|place| **place == record.uid).count();
            assert!(plain <= TARGET, "{plain} in {record:?}");
            assert_eq!(self.count(record.uid).await, counts[&record.uid]);
            assert!(!record.is_full || counts[&record.uid] >= TARGET, "{record:?} has room");
        }
    }

    /// Holds that who was moved has been told so once, and nobody else.
    fn prove_moves(&mut self, before: &Places, after: &Places) {
        let mut moved: Vec<(String, String)> = Vec::new();
        for (user, uid, _) in &self.users {
            if let (Some(from), Some(to)) = (before.get(uid), after.get(uid))
                && from != to
            {
                moved.push((user.clone(), crate::ids::uuid_text(*to)));
            }
        }
        let mut told = Vec::new();
        for heard in self.world.heard() {
            if heard.event_type == "UPDATE_CHANNEL_MEMBERSHIP" {
                let payload = &heard.payload;
                told.push((text(&payload["Member"]["Arn"]), text(&payload["SubChannelId"])));
            }
        }
        assert_eq!(told, moved);
        self.moves += moved.len();
    }

    async fn round(&mut self, index: usize) {
        let before = self.places().await;
        if self.below(2) == 0 {
            self.act().await;
        } else {
            self.work().await;
        }
        let after = self.places().await;
        self.prove(&after).await;
        self.prove_moves(&before, &after);
        if index.is_multiple_of(ROUNDS_PER_CHECK) {
            assert_eq!(self.world.chat.check().await.expect("is read").findings, []);
        }
    }

    /// Lets the jobs come to their end, and holds what is true then.
    async fn settle(&mut self) {
        self.prepared = None;
        for _ in 0..MAXIMUM + 2 {
            self.world.clock.advance(ms(BALANCE_REST_MS));
            self.world.run_jobs().await;
        }
        let records = self.records::<SubChannel>().await;
        let mut counts = Vec::new();
        for record in &records {
            assert_eq!(record.state, State::Active);
            counts.push(self.count(record.uid).await);
        }
        let room = |count: usize| TARGET.saturating_sub(count);
        let free: usize = counts.iter().map(|count| room(*count)).sum();
        for count in counts.iter().filter(|_| counts.len() > 1) {
            let fits = free - room(*count) >= *count;
            assert!(*count >= MINIMUM || !fits, "one of {count} stays: {counts:?}");
        }
        let places = self.places().await;
        self.prove(&places).await;
        assert_eq!(self.world.chat.check().await.expect("is read").findings, []);
    }
}

fn ms(constant: i64) -> u64 {
    u64::try_from(constant).expect("is positive")
}

async fn churn(seed: u64) -> usize {
    let mut churn = Churn::new(seed).await;
    for index in 0..ROUNDS {
        churn.round(index).await;
    }
    churn.settle().await;
    let deleted = churn.world.delete(&below(&churn.channel, ""), &churn.owner).await;
    assert!(deleted.is_ok());
    churn.world.run_jobs().await;
    for table in [SubChannel::TABLE, SubChannelList::TABLE, ChannelMembership::TABLE] {
        assert_eq!(churn.world.row_count(table).await, 0, "{}", table.name);
    }
    churn.moves
}

#[tokio::test]
async fn whatever_happens_every_member_is_in_one_sub_channel_and_hears_of_each_move() {
    let mut moves = 0;
    for seed in 1..=6 {
        println!("seed {seed}");
        moves += churn(seed).await;
    }
    assert!(moves > 20, "members are moved: {moves}");
}
