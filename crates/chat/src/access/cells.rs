//! Every cell of the role table, by requests: each operation that names a channel, asked for by each
//! kind of caller, in each kind of channel; those of elastic channels are in `elastic.rs`. What is
//! expected is read from docs/roles.md.
//!
//! Invariant: an operation that names a channel is in the list of `cases.rs`, and so is each row of
//! the table. What is not written yet is passed over while it is on the list in `dispatch.rs`.

mod cases;
mod elastic;

use serde_json::json;
use wire::shape::{Member as Field, Shape};
use wire::{ErrorCode, Operation, OperationId};

use crate::dispatch::UNIMPLEMENTED;
use crate::testing::{BAD_REQUEST, CONFLICT, FORBIDDEN, Outcome, World, text};
use cases::{CASES, Case, Request, Rule};

const DOCUMENTED: &str = include_str!("../../../../docs/roles.md");

/// What a channel is.
#[derive(Clone, Copy, Debug)]
struct Kind {
    privacy: &'static str,
    mode: &'static str,
    is_elastic: bool,
}

const fn ordinary(privacy: &'static str, mode: &'static str) -> Kind {
    Kind { privacy, mode, is_elastic: false }
}

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Admin,
    Moderator,
    ModeratorAndMember,
    ModeratorAndHidden,
    Member,
    Hidden,
    Stranger,
    BotMember,
    BotStranger,
    Banned,
}

use Role::{
    Admin, Banned, BotMember, BotStranger, Hidden, Member, Moderator, ModeratorAndHidden,
    ModeratorAndMember, Stranger,
};

const ROLES: [Role; 10] = [
    Admin,
    Moderator,
    ModeratorAndMember,
    ModeratorAndHidden,
    Member,
    Hidden,
    Stranger,
    BotMember,
    BotStranger,
    Banned,
];

impl Role {
    /// The columns of the table that count; that of the stranger counts for everybody.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Admin => &["admin", "stranger"],
            Moderator => &["moderator", "stranger"],
            ModeratorAndMember => &["moderator", "member", "stranger"],
            ModeratorAndHidden => &["moderator", "hidden member", "stranger"],
            Member | BotMember => &["member", "stranger"],
            Hidden => &["hidden member", "stranger"],
            Stranger | BotStranger | Banned => &["stranger"],
        }
    }

    fn is_member(self) -> bool {
        self.columns().iter().any(|column| column.ends_with("member"))
    }

    fn is_moderator(self) -> bool {
        self.columns().contains(&"moderator")
    }
}

/// Returns the documented grant of an action in a column.
fn documented(action: &str, column: &str) -> &'static str {
    let cells = |line: &'static str| line.split('|').map(str::trim);
    let head = DOCUMENTED.lines().find(|line| line.starts_with("| action |"));
    let column = cells(head.expect("the table has a head")).position(|name| name == column);
    let column = column.expect("the column is there");
    let row = DOCUMENTED.lines().find(|line| cells(line).nth(1) == Some(action));
    cells(row.expect("the row is there")).nth(column).expect("the row is whole")
}

/// Whether the best of the grants in these columns holds.
fn holds(action: &str, columns: &[&str], kind: Kind) -> bool {
    columns.iter().any(|column| match documented(action, column) {
        "yes" => true,
        "no" => false,
        "public" => kind.privacy == "PUBLIC",
        "unrestricted" => kind.mode == "UNRESTRICTED",
        "ordinary" => !kind.is_elastic,
        "as a member" => columns.iter().any(|column| column.ends_with("member")),
        other => panic!("{action}: {other} is no grant"),
    })
}

fn is_allowed(rule: Rule, role: Role, kind: Kind) -> bool {
    match rule {
        Rule::Row(action) => holds(action, role.columns(), kind),
        Rule::Nobody(_) => false,
        Rule::Those(are_allowed) => are_allowed(role),
    }
}

/// Returns the refusal that a role ends in, where no sub-channel matters; nothing for a success.
fn refusal(case: &Case, role: Role, kind: Kind) -> Option<Outcome> {
    (case.whatever)(role).or_else(|| match is_allowed(case.rule, role, kind) {
        true => (case.instead)(role),
        false => Some(FORBIDDEN),
    })
}

/// Returns the refusal that is expected in an ordinary channel; nothing for a success.
fn expected(case: &Case, role: Role, kind: Kind) -> Option<Outcome> {
    let is_elsewhere = elastic::way(case.rule) == elastic::Way::ThereAlone;
    refusal(case, role, kind).or(is_elsewhere.then_some(BAD_REQUEST))
}

/// Tells what is wrong with an outcome.
fn complaint(outcome: &Outcome, expected: Option<&Outcome>) -> Option<String> {
    let is_right = expected.map_or(outcome.is_ok(), |refusal| outcome == refusal);
    (!is_right).then(|| format!("refusal {expected:?} is expected, the answer is {outcome:?}"))
}

/// Returns what a batch answers about the one whom it names, as the request for him alone would.
fn alone(outcome: Outcome) -> Outcome {
    let code = outcome.as_ref().ok().and_then(|answer| answer["Errors"][0]["ErrorCode"].as_str());
    match code {
        None => outcome,
        Some("BadRequest") => BAD_REQUEST,
        Some("Conflict") => CONFLICT,
        Some("Forbidden") => FORBIDDEN,
        Some(other) => panic!("{other} is not expected of a batch"),
    }
}

/// People who are the same for every cell, each channel being a new one.
struct Cast {
    world: World,
    owner: String,
    guest: String,
    newcomer: String,
    culprit: String,
    admin: String,
    user: String,
    bot: String,
    flow: String,
}

/// One channel: the owner, who is its moderator, a guest, a culprit who is banned, a newcomer who
/// is nothing, and the actor in his role.
struct Scene {
    channel: String,
    actor: String,
    owner: String,
    guest: String,
    newcomer: String,
    culprit: String,
    flow: String,
    /// What the actor wrote while he was a member.
    own_message: String,
    /// What the guest wrote.
    message: String,
}

impl Cast {
    async fn new(mut world: World) -> Self {
        let mut people = Vec::new();
        for name in ["owner", "guest", "newcomer", "culprit", "admin", "user"] {
            people.push(world.create_user(name).await);
        }
        let [owner, guest, newcomer, culprit, admin, user] =
            people.try_into().expect("there are six");
        assert!(world.create_admin(&admin).await.is_ok());
        let bot = world.create_bot("bot").await;
        let flow = create_flow(&mut world).await;
        Self { world, owner, guest, newcomer, culprit, admin, user, bot, flow }
    }

    fn actor(&self, role: Role) -> &str {
        match role {
            Admin => &self.admin,
            BotMember | BotStranger => &self.bot,
            _ => &self.user,
        }
    }

    async fn scene(&mut self, role: Role, kind: Kind) -> Scene {
        let (actor, owner) = (self.actor(role).to_owned(), self.owner.clone());
        let members = [&self.guest, &actor];
        let kind = json!({ "Privacy": kind.privacy, "Mode": kind.mode, "MemberArns": members });
        let channel = self.world.create_channel(&owner, kind).await;
        self.play_in(role, channel, None).await
    }

    /// Makes the scene of a channel in which the actor and the guest are plain members, in an elastic
    /// one of this sub-channel.
    async fn play_in(&mut self, role: Role, channel: String, sub_channel: Option<&str>) -> Scene {
        let actor = self.actor(role).to_owned();
        let mut messages = Vec::new();
        for sender in [&actor, &self.guest] {
            let more = sub_channel.map_or(json!({}), |id| json!({ "SubChannelId": id }));
            let sent = self.world.send_with(&channel, sender, more).await.expect("is sent");
            messages.push(text(&sent["MessageId"]));
        }
        let [own_message, message] = messages.try_into().expect("there are two");
        let done = self.world.ban(&channel, &self.owner, &self.culprit).await;
        assert!(done.is_ok(), "{done:?}");
        self.give(role, &channel, &actor, sub_channel).await;
        let (owner, guest, newcomer) =
            (self.owner.clone(), self.guest.clone(), self.newcomer.clone());
        let (culprit, flow) = (self.culprit.clone(), self.flow.clone());
        Scene { channel, actor, owner, guest, newcomer, culprit, flow, own_message, message }
    }

    /// Gives his role to the actor, who is a plain member. Who becomes a moderator of an elastic
    /// channel is no member of it until he is added again.
    async fn give(&self, role: Role, channel: &str, actor: &str, sub_channel: Option<&str>) {
        let (world, owner) = (&self.world, &*self.owner);
        let mut done = Vec::new();
        if !matches!(role, Member | BotMember | Banned) {
            done.push(world.leave(channel, owner, actor).await);
        }
        if matches!(role, Hidden | ModeratorAndHidden) {
            done.push(world.join_as(channel, owner, actor, "HIDDEN").await);
        }
        if role.is_moderator() {
            done.push(world.promote(channel, owner, actor).await);
        }
        if role == ModeratorAndMember {
            done.push(world.join_at(channel, owner, actor, sub_channel).await);
        }
        if role == Banned {
            done.push(world.ban(channel, owner, actor).await);
        }
        assert!(done.iter().all(Result::is_ok), "{role:?}: {done:?}");
    }

    /// Asks for a case, and names a sub-channel if one is given.
    async fn ask(&mut self, case: &Case, scene: &Scene, sub_channel: Option<&str>) -> Outcome {
        if let Some(before) = case.before {
            let (method, target, body) = before(scene);
            let done = self.world.call(method, &target, &scene.owner, body).await;
            assert!(done.is_ok(), "{:?}: {done:?}", case.operation);
        }
        let request = (case.request)(scene);
        let (method, target, body) = match sub_channel {
            Some(id) => naming(request, id),
            None => request,
        };
        let outcome = self.world.call(method, &target, &scene.actor, body).await;
        // Nobody else empties the sink.
        self.world.heard();
        alone(outcome)
    }

    /// Plays one cell and tells what is wrong with its outcome.
    async fn play(&mut self, case: &Case, role: Role, kind: Kind) -> Option<String> {
        let scene = self.scene(role, kind).await;
        let outcome = self.ask(case, &scene, None).await;
        let complaint = complaint(&outcome, expected(case, role, kind).as_ref())?;
        Some(format!("{:?}, {complaint}", (case.operation, case.rule, role, kind)))
    }
}

/// Returns the request that names a sub-channel besides.
fn naming((method, mut target, mut body): Request, sub_channel: &str) -> Request {
    if matches!(method, "GET" | "DELETE") {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str("sub-channel-id=");
        target.push_str(sub_channel);
    } else {
        body["SubChannelId"] = json!(sub_channel);
    }
    (method, target, body)
}

async fn create_flow(world: &mut World) -> String {
    if UNIMPLEMENTED.contains(&OperationId::CreateChannelFlow) {
        return format!("{}/channel-flow/none", world.app_instance);
    }
    let function = "arn:aws:lambda:us-east-1:000000000000:function:processor";
    let lambda = json!({ "ResourceArn": function, "InvocationType": "ASYNC" });
    let processor = json!({
        "Name": "processor", "Configuration": { "Lambda": lambda }, "ExecutionOrder": 1,
        "FallbackAction": "CONTINUE",
    });
    let body = json!({
        "AppInstanceArn": world.app_instance, "Name": "flow", "Processors": [processor],
        "ClientRequestToken": world.token(),
    });
    let answer = world.call("POST", "/channel-flows", "", body).await.expect("is created");
    text(&answer["ChannelFlowArn"])
}

async fn play_all(kind: Kind) {
    let mut cast = Cast::new(World::new().await).await;
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|case| !UNIMPLEMENTED.contains(&case.operation)) {
        for role in ROLES {
            wrong.extend(cast.play(case, role, kind).await);
        }
    }
    assert!(wrong.is_empty(), "{} wrong cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn roles_in_a_private_restricted_channel_are_the_documented_ones() {
    play_all(ordinary("PRIVATE", "RESTRICTED")).await;
}

#[tokio::test]
async fn roles_in_a_private_unrestricted_channel_are_the_documented_ones() {
    play_all(ordinary("PRIVATE", "UNRESTRICTED")).await;
}

#[tokio::test]
async fn roles_in_a_public_restricted_channel_are_the_documented_ones() {
    play_all(ordinary("PUBLIC", "RESTRICTED")).await;
}

#[tokio::test]
async fn roles_in_a_public_unrestricted_channel_are_the_documented_ones() {
    play_all(ordinary("PUBLIC", "UNRESTRICTED")).await;
}

/// What the model says of an operation.
struct Modelled {
    operation: OperationId,
    uri: &'static str,
    errors: &'static [ErrorCode],
    input: fn() -> &'static [Field],
}

const fn modelled<O: Operation>() -> Modelled {
    let input = || O::Input::default().members();
    Modelled { operation: O::ID, uri: O::URI, errors: O::ERRORS, input }
}

macro_rules! modelled {
    ($($service:ident :: $operation:ident),* $(,)?) => {
        const MODELLED: &[Modelled] = &[$(modelled::<wire::$service::$operation>()),*];
    };
}
wire::for_each_operation!(modelled);

#[test]
fn every_operation_that_names_a_channel_is_played() {
    // It has no bearer: whoever knows the callback's id answers it.
    let without_a_caller = [OperationId::ChannelFlowCallback];
    for Modelled { operation, uri, .. } in MODELLED {
        let is_played = CASES.iter().any(|case| case.operation == *operation);
        let is_to_be = uri.contains("{channelArn}") && !without_a_caller.contains(operation);
        assert!(is_played || !is_to_be, "{operation:?}: {uri}");
    }
}

#[test]
fn every_row_of_the_table_is_played() {
    let rows = DOCUMENTED.lines().filter(|line| line.starts_with("| "));
    for row in rows.skip(1) {
        let action = row.split('|').nth(1).expect("the row has an action").trim();
        let is_it = |case: &Case| matches!(case.rule, Rule::Row(name) if name == action);
        assert!(CASES.iter().any(is_it), "{action}");
    }
}

#[tokio::test]
async fn cell_that_is_not_as_expected_is_found() {
    let mut cast = Cast::new(World::new().await).await;
    let kind = ordinary("PRIVATE", "RESTRICTED");
    for (role, expects) in [(Member, Rule::Those(|_| false)), (Stranger, Rule::Those(|_| true))] {
        let right = CASES[0];
        assert_eq!(cast.play(&right, role, kind).await, None);
        let wrong = Case { rule: expects, ..right };
        assert!(cast.play(&wrong, role, kind).await.is_some());
    }
}

#[tokio::test]
async fn every_case_asks_for_its_operation() {
    let mut cast = Cast::new(World::new().await).await;
    let scene = cast.scene(Member, ordinary("PRIVATE", "RESTRICTED")).await;
    for case in CASES {
        let (method, target, _) = (case.request)(&scene);
        let (path, query) = target.split_once('?').map_or((&*target, None), |(p, q)| (p, Some(q)));
        let route = wire::route::route(method, path, query).expect("the route is known");
        assert_eq!(route.operation, case.operation);
    }
}
