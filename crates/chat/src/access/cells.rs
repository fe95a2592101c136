//! Every cell of the role table, by requests: each operation that names a channel, asked for by each
//! kind of caller, in each kind of channel. What is expected is read from docs/roles.md.
//!
//! Invariant: an operation that names a channel is in the list of `cases.rs`, and so is each row of
//! the table. What is not written yet is passed over while it is on the list in `dispatch.rs`.

mod cases;

use serde_json::json;
use wire::{Operation, OperationId};

use crate::dispatch::UNIMPLEMENTED;
use crate::testing::{FORBIDDEN, World, text};
use cases::{CASES, Case, Rule};

const DOCUMENTED: &str = include_str!("../../../../docs/roles.md");
const PRIVACY: [&str; 2] = ["PRIVATE", "PUBLIC"];
const MODE: [&str; 2] = ["RESTRICTED", "UNRESTRICTED"];

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

fn is_allowed(rule: Rule, role: Role, [privacy, mode]: [&str; 2]) -> bool {
    let action = match rule {
        Rule::Row(action) => action,
        Rule::Those(are_allowed) => return are_allowed(role),
    };
    role.columns().iter().any(|column| match documented(action, column) {
        "yes" => true,
        "no" => false,
        "public" => privacy == "PUBLIC",
        "unrestricted" => mode == "UNRESTRICTED",
        "as a member" => role.is_member(),
        other => panic!("{action}: {other} is no grant"),
    })
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
    async fn new() -> Self {
        let mut world = World::new().await;
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

    async fn scene(&mut self, role: Role, [privacy, mode]: [&str; 2]) -> Scene {
        let actor = match role {
            Admin => &self.admin,
            BotMember | BotStranger => &self.bot,
            _ => &self.user,
        };
        let (actor, owner) = (actor.clone(), self.owner.clone());
        let members = [&self.guest, &actor];
        let kind = json!({ "Privacy": privacy, "Mode": mode, "MemberArns": members });
        let world = &mut self.world;
        let channel = world.create_channel(&owner, kind).await;
        let sent = world.send(&channel, &actor, "own").await.expect("is sent");
        let own_message = text(&sent["MessageId"]);
        let sent = world.send(&channel, &self.guest, "of the guest").await.expect("is sent");
        let message = text(&sent["MessageId"]);
        let mut done = vec![world.ban(&channel, &owner, &self.culprit).await];
        if !matches!(role, Member | BotMember | ModeratorAndMember | Banned) {
            done.push(world.leave(&channel, &owner, &actor).await);
        }
        if matches!(role, Hidden | ModeratorAndHidden) {
            done.push(world.join_as(&channel, &owner, &actor, "HIDDEN").await);
        }
        if role.is_moderator() {
            done.push(world.promote(&channel, &owner, &actor).await);
        }
        if role == Banned {
            done.push(world.ban(&channel, &owner, &actor).await);
        }
        assert!(done.iter().all(Result::is_ok), "{role:?}: {done:?}");
        let (guest, newcomer) = (self.guest.clone(), self.newcomer.clone());
        let (culprit, flow) = (self.culprit.clone(), self.flow.clone());
        Scene { channel, actor, owner, guest, newcomer, culprit, flow, own_message, message }
    }

    /// Plays one cell and tells what is wrong with its outcome.
    async fn play(&mut self, case: &Case, role: Role, kind: [&str; 2]) -> Option<String> {
        let scene = self.scene(role, kind).await;
        if let Some(before) = case.before {
            let (method, target, body) = before(&scene);
            let done = self.world.call(method, &target, &scene.owner, body).await;
            assert!(done.is_ok(), "{:?}: {done:?}", case.operation);
        }
        let (method, target, body) = (case.request)(&scene);
        let outcome = self.world.call(method, &target, &scene.actor, body).await;
        // Nobody else empties the sink.
        self.world.heard();
        let is_allowed = is_allowed(case.rule, role, kind);
        let is_right = match (case.whatever)(role) {
            Some(expected) => outcome == expected,
            None if is_allowed => (case.accepts)(&outcome),
            None => outcome == FORBIDDEN,
        };
        let cell = (case.operation, case.rule, role, kind);
        (!is_right).then(|| format!("{cell:?}, allowed {is_allowed}: {outcome:?}"))
    }
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

async fn play_all(kind: [&str; 2]) {
    let mut cast = Cast::new().await;
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
    play_all([PRIVACY[0], MODE[0]]).await;
}

#[tokio::test]
async fn roles_in_a_private_unrestricted_channel_are_the_documented_ones() {
    play_all([PRIVACY[0], MODE[1]]).await;
}

#[tokio::test]
async fn roles_in_a_public_restricted_channel_are_the_documented_ones() {
    play_all([PRIVACY[1], MODE[0]]).await;
}

#[tokio::test]
async fn roles_in_a_public_unrestricted_channel_are_the_documented_ones() {
    play_all([PRIVACY[1], MODE[1]]).await;
}

macro_rules! uris {
    ($($service:ident :: $operation:ident),* $(,)?) => {
        const URIS: &[(OperationId, &str)] = &[
            $((OperationId::$operation, <wire::$service::$operation as Operation>::URI)),*
        ];
    };
}
wire::for_each_operation!(uris);

#[test]
fn every_operation_that_names_a_channel_is_played() {
    // It has no bearer: whoever knows the callback's id answers it.
    let without_a_caller = [OperationId::ChannelFlowCallback];
    for (operation, uri) in URIS.iter().filter(|(_, uri)| uri.contains("{channelArn}")) {
        let is_played = CASES.iter().any(|case| case.operation == *operation);
        assert!(is_played || without_a_caller.contains(operation), "{operation:?}: {uri}");
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
    let mut cast = Cast::new().await;
    for (role, expects) in [(Member, Rule::Those(|_| false)), (Stranger, Rule::Those(|_| true))] {
        let right = CASES[0];
        assert_eq!(cast.play(&right, role, [PRIVACY[0], MODE[0]]).await, None);
        let wrong = Case { rule: expects, ..right };
        assert!(cast.play(&wrong, role, [PRIVACY[0], MODE[0]]).await.is_some());
    }
}

#[tokio::test]
async fn every_case_asks_for_its_operation() {
    let mut cast = Cast::new().await;
    let scene = cast.scene(Member, [PRIVACY[0], MODE[0]]).await;
    for case in CASES {
        let (method, target, _) = (case.request)(&scene);
        let (path, query) = target.split_once('?').map_or((&*target, None), |(p, q)| (p, Some(q)));
        let route = wire::route::route(method, path, query).expect("the route is known");
        assert_eq!(route.operation, case.operation);
    }
}
