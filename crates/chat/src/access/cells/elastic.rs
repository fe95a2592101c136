//! The cells of elastic channels, where members and messages are in sub-channels.
//!
//! Invariant: what can name a sub-channel is asked for without one, with the one in which the scene
//! is, with another one of the channel and with one of another channel; all else is asked for once.
//! What is expected of each is derived from the table, whose last column tells what becomes of the
//! request.

use serde_json::json;
use wire::{ErrorCode, OperationId};

use super::{
    Admin, Banned, BotMember, BotStranger, CASES, Case, Cast, Kind, MODELLED, Member, Modelled,
    Moderator, ModeratorAndMember, Role, Rule, Scene, Stranger, UNIMPLEMENTED, complaint,
    documented, holds, is_allowed, refusal,
};
use crate::Quotas;
use crate::testing::{BAD_REQUEST, FORBIDDEN, NOT_FOUND, Outcome, World, label, text};

const COLUMN: &str = "in an elastic channel";

/// Nobody is a hidden member there.
const ROLES: [Role; 8] =
    [Admin, Moderator, ModeratorAndMember, Member, Stranger, BotMember, BotStranger, Banned];

const fn elastic(privacy: &'static str) -> Kind {
    Kind { privacy, mode: "RESTRICTED", is_elastic: true }
}

/// What an elastic channel makes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    Whole,
    ThereAlone,
    SubChannel,
    OneOrAll,
    Assigned,
    None,
}

/// Returns what the table says of the request; what has no row is about the whole channel.
pub(super) fn way(rule: Rule) -> Way {
    match rule.row().map(|row| documented(row, COLUMN)) {
        None | Some("whole") => Way::Whole,
        Some("there alone") => Way::ThereAlone,
        Some("sub-channel") => Way::SubChannel,
        Some("one or all") => Way::OneOrAll,
        Some("assigned") => Way::Assigned,
        Some("none") => Way::None,
        Some(other) => panic!("{rule:?}: {other} is no way"),
    }
}

/// Which sub-channel the request names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    Nothing,
    /// That of the messages, the guest and the actor.
    Own,
    /// Another one of the channel, in which none of them is.
    Other,
    /// One of another channel, in which the actor is.
    Foreign,
}

fn modelled(operation: OperationId) -> &'static Modelled {
    let found = MODELLED.iter().find(|modelled| modelled.operation == operation);
    found.expect("every operation is modelled")
}

fn can_name(operation: OperationId) -> bool {
    (modelled(operation).input)().iter().any(|field| field.name() == "SubChannelId")
}

fn all_named(operation: OperationId) -> &'static [Named] {
    match can_name(operation) {
        true => &[Named::Nothing, Named::Own, Named::Other, Named::Foreign],
        false => &[Named::Nothing],
    }
}

/// Returns the refusal that is expected; nothing for a success.
fn expected(case: &Case, role: Role, kind: Kind, named: Named) -> Option<Outcome> {
    let refusal = refusal(case, role, kind);
    match (way(case.rule), named) {
        (Way::Whole | Way::ThereAlone, _) => refusal,
        (Way::None, _) => refusal.or(Some(BAD_REQUEST)),
        (Way::SubChannel, _) => in_one(case, role, kind, named),
        (Way::OneOrAll, Named::Nothing | Named::Own) => refusal,
        // Nobody whom the request could mean is there.
        (Way::OneOrAll, Named::Other | Named::Foreign) => Some(FORBIDDEN),
        (Way::Assigned, _) => assigned(case, role, kind, named),
    }
}

/// What is in one sub-channel is asked about by those who have a role in that one.
fn in_one(case: &Case, role: Role, kind: Kind, named: Named) -> Option<Outcome> {
    let row = case.rule.row().expect("what has no row is whole");
    let outside: Vec<&str> =
        role.columns().iter().copied().filter(|column| *column != "member").collect();
    match named {
        Named::Nothing if holds(unknown(row), role.columns(), kind) => Some(BAD_REQUEST),
        Named::Nothing | Named::Foreign => Some(FORBIDDEN),
        Named::Own if is_allowed(case.rule, role, kind) => None,
        Named::Own => Some(FORBIDDEN),
        Named::Other if holds(row, &outside, kind) => absent(case.operation),
        Named::Other => Some(FORBIDDEN),
    }
}

/// Returns the row that counts where it is not known yet whose message it is.
fn unknown(row: &str) -> &str {
    match row {
        "redact somebody else's message" => "redact his own message",
        row => row,
    }
}

/// What those may hear who ask for what is in another sub-channel.
fn absent(operation: OperationId) -> Option<Outcome> {
    match operation {
        // They show what is there.
        OperationId::ListChannelMemberships | OperationId::ListChannelMessages => None,
        _ if modelled(operation).errors.contains(&ErrorCode::NotFound) => Some(NOT_FOUND),
        _ => Some(FORBIDDEN),
    }
}

/// A moderator who is added chooses his sub-channel; a plain member must not.
fn assigned(case: &Case, role: Role, kind: Kind, named: Named) -> Option<Outcome> {
    let chooses = (case.chooses)(role) && is_allowed(case.rule, role, kind);
    match (chooses, named) {
        (true, Named::Nothing) => Some(BAD_REQUEST),
        (true, Named::Own) => (case.instead)(role),
        (true, Named::Other) => None,
        (true, Named::Foreign) => Some(FORBIDDEN),
        (false, Named::Nothing) => refusal(case, role, kind),
        (false, _) => refusal(case, role, kind).or(Some(BAD_REQUEST)),
    }
}

/// The people, and what is the same for every elastic channel.
struct Stage {
    cast: Cast,
    /// Who comes last, and into a sub-channel of his own.
    neighbour: String,
    /// The sub-channel of another channel, in which all are who act.
    foreign: String,
}

/// A scene and the sub-channels of its channel.
struct Set {
    scene: Scene,
    own: String,
    other: String,
}

impl Stage {
    async fn new() -> Self {
        let mut quotas = Quotas::default();
        quotas.set("elastic-channels", 10_000).expect("is a quota");
        let mut cast = Cast::new(World::with_quotas(quotas).await).await;
        let neighbour = cast.world.create_user("neighbour").await;
        let actors = [&cast.user, &cast.admin, &cast.bot].map(Clone::clone);
        let channel = create(&mut cast, "PUBLIC").await;
        let mut foreign = String::new();
        for actor in &actors {
            foreign = enter(&cast, &channel, actor).await;
        }
        Self { cast, neighbour, foreign }
    }

    /// The owner, the guest and the actor are in a sub-channel, the neighbour is in another one.
    async fn set(&mut self, role: Role, kind: Kind) -> Set {
        let cast = &mut self.cast;
        let channel = create(cast, kind.privacy).await;
        let target = format!("/channels/{}/subchannels", label(&channel));
        let listed = cast.world.get(&target, &cast.owner).await.expect("are listed");
        let own = text(&listed["SubChannels"][0]["SubChannelId"]);
        let joined = cast.world.join_at(&channel, &cast.owner, &cast.owner, Some(&own)).await;
        assert!(joined.is_ok(), "{joined:?}");
        for member in [&*cast.guest, cast.actor(role)] {
            assert_eq!(enter(cast, &channel, member).await, own);
        }
        let other = enter(cast, &channel, &self.neighbour).await;
        assert_ne!(other, own);
        let scene = cast.play_in(role, channel, Some(&own)).await;
        Set { scene, own, other }
    }

    /// Plays one cell and tells what is wrong with its outcome.
    async fn play(&mut self, case: &Case, role: Role, kind: Kind, named: Named) -> Option<String> {
        let Set { scene, own, other } = self.set(role, kind).await;
        let sub_channel = match named {
            Named::Nothing => None,
            Named::Own => Some(&*own),
            Named::Other => Some(&*other),
            Named::Foreign => Some(&*self.foreign),
        };
        let outcome = self.cast.ask(case, &scene, sub_channel).await;
        let complaint = complaint(&outcome, expected(case, role, kind, named).as_ref())?;
        Some(format!("{:?}, {complaint}", (case.operation, case.rule, role, kind, named)))
    }
}

/// Creates an elastic channel whose sub-channels are full with three.
async fn create(cast: &mut Cast, privacy: &str) -> String {
    let elastic = json!({ "MaximumSubChannels": 4, "TargetMembershipsPerSubChannel": 3,
        "MinimumMembershipPercentage": 1 });
    let more = json!({ "Privacy": privacy, "ElasticChannelConfiguration": elastic });
    cast.world.create_channel(&cast.owner, more).await
}

/// Adds a plain member and returns the sub-channel.
async fn enter(cast: &Cast, channel: &str, member: &str) -> String {
    let joined = cast.world.join(channel, &cast.owner, member).await.expect("is added");
    text(&joined["SubChannelId"])
}

async fn play_all(kind: Kind) {
    let mut stage = Stage::new().await;
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|case| !UNIMPLEMENTED.contains(&case.operation)) {
        for role in ROLES {
            for &named in all_named(case.operation) {
                wrong.extend(stage.play(case, role, kind, named).await);
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn roles_in_a_private_elastic_channel_are_the_documented_ones() {
    play_all(elastic("PRIVATE")).await;
}

#[tokio::test]
async fn roles_in_a_public_elastic_channel_are_the_documented_ones() {
    play_all(elastic("PUBLIC")).await;
}

#[tokio::test]
async fn elastic_cell_that_is_not_as_expected_is_found() {
    let mut stage = Stage::new().await;
    let is_sending = |case: &&Case| case.operation == OperationId::SendChannelMessage;
    let right = *CASES.iter().find(is_sending).expect("is played");
    let wrong = Case { rule: Rule::Row("delete a message"), ..right };
    for (role, named) in [(Member, Named::Own), (Member, Named::Nothing), (Admin, Named::Own)] {
        assert_eq!(stage.play(&right, role, elastic("PRIVATE"), named).await, None);
        assert!(stage.play(&wrong, role, elastic("PRIVATE"), named).await.is_some());
    }
}

#[test]
fn table_speaks_of_sub_channels_where_the_model_does() {
    for case in CASES {
        let is_fit = match way(case.rule) {
            Way::Whole | Way::ThereAlone => !can_name(case.operation),
            Way::SubChannel | Way::OneOrAll | Way::Assigned => can_name(case.operation),
            Way::None => true,
        };
        assert!(is_fit, "{:?}", (case.operation, case.rule));
    }
}
