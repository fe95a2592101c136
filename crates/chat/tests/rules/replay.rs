//! A sequence: drawn from a seed, replayed side by side with the model, and shortened when the two
//! come apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use store::Clock as _;

use crate::dice::Dice;
use crate::draw;
use crate::model::{Model, Outcome, Told};
use crate::operation::{OPERATIONS, Operation, Request};
use crate::world::{Answer, Place, World};

/// Replays that may be spent on shortening a sequence that fails.
const SHRINK_REPLAYS_MAX: usize = 400;
/// How far the clock goes before each step: stamps never have to run ahead of it.
const STEP_MS: u64 = 20;
/// Longer than any request token of a send is remembered, and of a create.
const JUMPS_MS: [u64; 2] = [41 * 60 * 1_000, 49 * 60 * 60 * 1_000];

/// What a sequence begins with, so that there soon are people and places.
const BEGIN: [&str; 3] = ["CreateAppInstance", "CreateAppInstanceUser", "CreateChannel"];
const BEGIN_ROUNDS: usize = 3;

/// One step. It depends on nothing that a run decides, so any part of a sequence is a sequence.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// A request, drawn from this seed when its turn comes.
    Request(&'static Operation, u64),
    /// Some steps of the jobs that are due.
    Jobs(u64),
    /// Rows whose time is over leave.
    Sweep,
    /// Time passes.
    Jump(u64),
    Restart,
    /// The rows are proved.
    Check,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Request(operation, _) => operation.name,
            _ => "",
        }
    }

    fn draw(dice: &Dice) -> Self {
        match dice.below(200) {
            0..16 => Step::Jobs(dice.of(&[1, 1, 2, 100])),
            16..18 => Step::Sweep,
            18 => Step::Jump(dice.of(&[JUMPS_MS[0], JUMPS_MS[0], JUMPS_MS[0], JUMPS_MS[1]])),
            19 => Step::Restart,
            20..22 => Step::Check,
            _ => Step::Request(draw_operation(dice), dice.number()),
        }
    }
}

fn draw_operation(dice: &Dice) -> &'static Operation {
    let mut place = dice.below(OPERATIONS.iter().map(|operation| operation.weight).sum());
    for operation in OPERATIONS {
        if place < operation.weight {
            return operation;
        }
        place -= operation.weight;
    }
    panic!("the weights add up")
}

pub(crate) fn sequence(seed: u64, length: usize) -> Vec<Step> {
    let dice = Dice::new(seed);
    let begin = |operation: &&'static Operation| BEGIN.contains(&operation.name);
    let begin: Vec<Step> = (0..BEGIN_ROUNDS)
        .flat_map(|_| OPERATIONS.iter().filter(begin))
        .map(|operation| Step::Request(operation, dice.number()))
        .collect();
    // In the end nothing is left to do, and the rows are sound.
    let end = [Step::Check, Step::Jobs(100_000), Step::Check];
    let steps = (0..length).map(|_| Step::draw(&dice));
    begin.into_iter().chain(steps).chain(end).collect()
}

/// What was driven.
#[derive(Default)]
pub(crate) struct Coverage {
    /// Successes and refusals by operation.
    pub(crate) counts: BTreeMap<&'static str, [usize; 2]>,
    /// Operations that are not there yet.
    pub(crate) absent: BTreeSet<&'static str>,
}

impl Coverage {
    fn count(&mut self, request: &Request, outcome: &Outcome) {
        let counts = self.counts.entry(request.operation.name).or_default();
        counts[usize::from(outcome.is_err())] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.absent.extend(&other.absent);
        for (name, counts) in &other.counts {
            let sums = self.counts.entry(name).or_default();
            *sums = [sums[0] + counts[0], sums[1] + counts[1]];
        }
    }
}

/// Where a run left the model, and what was asked until then.
pub(crate) struct Divergence {
    step: usize,
    /// What the step was about.
    name: &'static str,
    text: String,
    said: String,
}

struct Run {
    world: World,
    model: Model,
    coverage: Coverage,
    said: String,
}

/// Replays a sequence and tells what it drove, or where it left the model.
async fn replay(place: Place, steps: &[Step]) -> Result<Coverage, Divergence> {
    let world = World::new(place).await;
    let (model, coverage) = (Model::default(), Coverage::default());
    let mut run = Run { world, model, coverage, said: String::new() };
    for (number, step) in steps.iter().enumerate() {
        run.world.clock.advance(STEP_MS);
        run.model.now_ms = run.world.clock.now_ms();
        if let Err(text) = run.step(*step).await {
            return Err(Divergence { step: number, name: step.name(), text, said: run.said });
        }
    }
    Ok(run.coverage)
}

impl Run {
    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Request(operation, seed) => return self.request(operation, seed).await,
            Step::Jobs(count) => {
                self.say(format_args!("jobs: {count} steps"));
                let idle = self.world.run_jobs(count).await;
                return self.hear_of_jobs(idle);
            }
            Step::Sweep => {
                self.say(format_args!("sweep"));
                self.world.sweep().await;
            }
            Step::Jump(ms) => {
                self.say(format_args!("{ms} ms pass"));
                self.world.clock.advance(ms);
            }
            Step::Restart => {
                self.say(format_args!("restart"));
                self.world.restart().await;
            }
            Step::Check => {
                self.say(format_args!("check"));
                same("findings", &self.world.check().await, &Vec::new())?;
            }
        }
        same("events", &self.world.heard(), &Vec::new())
    }

    async fn request(&mut self, operation: &'static Operation, seed: u64) -> Result<(), String> {
        let request = draw::request(operation, seed, &self.model);
        let found = match self.world.send(&request, &Dice::new(!seed)).await {
            Answer::Outcome(outcome) => outcome.map(|answer| normal(operation, answer)),
            Answer::Unavailable => {
                self.coverage.absent.insert(operation.name);
                return Ok(());
            }
        };
        self.say(format_args!("{request}\n    -> {}", shown(&found)));
        if found.is_err() {
            let text = std::mem::take(&mut self.world.refusal);
            self.say(format_args!("       {text}"));
        }
        self.coverage.count(&request, &found);
        let expected = self.model.apply(&request, &found);
        let expected = expected.map(|answer| normal(operation, answer));
        if found != expected {
            return Err(format!("answered {}\nand should {}", shown(&found), shown(&expected)));
        }
        if let Some(user) =
            found.ok().and_then(|answer| answer["AppInstanceUserArn"].as_str().map(str::to_owned))
        {
            self.world.learn(&user).await;
        }
        let mut told = std::mem::take(&mut self.model.told);
        told.sort();
        same("events", &self.world.heard(), &told)
    }

    /// While the purge runs, the leaves of those who were deleted are told, and nothing else.
    fn hear_of_jobs(&mut self, idle: bool) -> Result<(), String> {
        let mut paid = Vec::new();
        for Told { event_type, audience, about } in self.world.heard() {
            let channel = match &audience {
                crate::model::Audience::Members(channel)
                | crate::model::Audience::Moderators(channel) => channel.clone(),
                crate::model::Audience::Users(_) => continue,
            };
            let mut owed = self.model.owed.iter();
            let owed = owed.find(|owed| owed.channel == channel && owed.member == about);
            match owed.filter(|_| event_type == "DELETE_CHANNEL_MEMBERSHIP") {
                Some(owed) => paid.push(owed.clone()),
                None => return Err(format!("a job told {event_type} of {about} in {channel}")),
            }
        }
        self.model.owed.retain(|leave| !paid.contains(leave));
        if idle { same("untold leaves", &self.model.owed, &Default::default()) } else { Ok(()) }
    }

    fn say(&mut self, what: std::fmt::Arguments) {
        writeln!(self.said, "{what}").expect("a text takes it");
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} are {found:#?}\nand should be {expected:#?}"))
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Ok(answer) => answer.to_string(),
        Err((status, exception)) => format!("{status} {exception}"),
    }
}

/// Writes times as milliseconds, leaves out texts that may change, and sorts what has no order.
fn normal(operation: &Operation, mut answer: Value) -> Value {
    normalise(&mut answer);
    let unordered = operation.list.filter(|_| !operation.ordered).into_iter().chain(["Tags"]);
    for member in unordered {
        if let Some(items) = answer.get_mut(member).and_then(Value::as_array_mut) {
            items.sort_by_key(Value::to_string);
        }
    }
    answer
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, text| {
                name != "ErrorMessage" || text.as_str().is_none_or(str::is_empty)
            });
            for (name, member) in members {
                let seconds = member.as_f64().filter(|_| name.ends_with("Timestamp"));
                match seconds {
                    // The model writes milliseconds from the beginning.
                    Some(seconds) if seconds < 1e11 => *member = ((seconds * 1e3).round()).into(),
                    Some(ms) => *member = ms.into(),
                    None => normalise(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        _ => {}
    }
}

/// Leaves out what a sequence can lose and still fail in a step of this name: halves, then ever
/// smaller parts.
async fn shrink(
    make: &impl AsyncFn() -> Place,
    name: &'static str,
    mut steps: Vec<Step>,
) -> Vec<Step> {
    let mut replays = 0;
    let mut part = steps.len().div_ceil(2);
    while part > 0 {
        let (mut from, length) = (0, steps.len());
        while from < steps.len() && replays < SHRINK_REPLAYS_MAX {
            let mut shorter = steps.clone();
            shorter.drain(from..steps.len().min(from + part));
            replays += 1;
            match replay(make().await, &shorter).await {
                Err(divergence) if divergence.name == name => {
                    shorter.truncate(divergence.step + 1);
                    steps = shorter;
                }
                _ => from += part,
            }
        }
        // What one step could not do without may have gone since.
        part = if part == 1 && steps.len() < length { 1 } else { part / 2 };
    }
    steps
}

/// Replays the sequence of a seed.
///
/// # Errors
/// The text of the first divergence, with the shortest sequence found that still shows one.
pub(crate) async fn judge(
    make: impl AsyncFn() -> Place,
    seed: u64,
    length: usize,
) -> Result<Coverage, String> {
    let mut steps = sequence(seed, length);
    let first = match replay(make().await, &steps).await {
        Ok(coverage) => return Ok(coverage),
        Err(divergence) => divergence,
    };
    steps.truncate(first.step + 1);
    let steps = shrink(&make, first.name, steps).await;
    let (last, count) = (replay(make().await, &steps).await.err(), steps.len());
    let (said, last) = last.map(|last| (last.said, last.text)).unwrap_or_default();
    let Divergence { step, text, .. } = first;
    Err(format!("seed {seed}, step {step}: {text}\n\nshortened to {count} steps:\n{said}\n{last}"))
}
