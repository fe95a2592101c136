//! The rules judged by a model: random requests by random people, on every engine.
//!
//! A sequence is drawn from a seed and replayed step by step on the service and in `model`, plain
//! maps written from the documents. Each answer (status, exception, every member of the output,
//! lists walked page by page) and each event with its audience must be the model's. A divergence
//! prints the seed and the shortest sequence found that shows one.
//!
//! `CAMPANILE_TEST_SEEDS=200` replays that many sequences on each engine instead of a few, and
//! `CAMPANILE_TEST_SEED=7` begins at another seed.

mod dice;
mod draw;
mod model;
mod operation;
mod replay;
mod world;

#[cfg(feature = "postgres-tests")]
#[expect(dead_code, reason = "the store's tests use more of it")]
#[path = "../../../store/tests/postgres/server.rs"]
mod server;

use operation::OPERATIONS;
use replay::{Coverage, judge};
use world::Place;

/// Steps of one sequence.
const STEPS: usize = 1_500;
/// Operations that must have been driven, each with success and with refusal.
const DRIVEN_MIN: usize = 40;
/// Operations that are never refused, or never answered.
const ONE_SIDED: [&str; 3] = [
    "GetMessagingSessionEndpoint",
    "GetMessagingStreamingConfigurations",
    "PutMessagingStreamingConfigurations",
];
const SEEDS: &str = "CAMPANILE_TEST_SEEDS";
const FIRST_SEED: &str = "CAMPANILE_TEST_SEED";

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().expect("the variable is a number"))
}

/// Replays the sequences of some seeds and returns what they drove.
async fn judge_all(make: impl AsyncFn() -> Place, seed_count: u64) -> Coverage {
    let first = number(FIRST_SEED, 1);
    let mut coverage = Coverage::default();
    let mut divergences = Vec::new();
    for seed in first..first + number(SEEDS, seed_count) {
        match judge(&make, seed, STEPS).await {
            Ok(driven) => coverage.add(&driven),
            Err(text) => divergences.push(text),
        }
    }
    assert!(divergences.is_empty(), "{}", divergences.join("\n\n"));
    coverage
}

/// Every operation that is there was answered and was refused, but for those that never are.
fn assert_driven(coverage: &Coverage) {
    let (mut driven, mut missed) = (0, Vec::new());
    for operation in OPERATIONS {
        let counts = coverage.counts.get(operation.name).copied().unwrap_or_default();
        println!("{:6} answered, {:6} refused: {}", counts[0], counts[1], operation.name);
        if counts.iter().all(|count| *count > 0) {
            driven += 1;
        } else if !ONE_SIDED.contains(&operation.name) && !coverage.absent.contains(operation.name)
        {
            missed.push(operation.name);
        }
    }
    assert!(missed.is_empty(), "not answered or not refused: {missed:?}");
    assert!(driven >= DRIVEN_MIN, "{driven} operations were answered and refused");
}

#[tokio::test]
async fn memory_answers_as_the_model_does() {
    let coverage = judge_all(async || Place::Memory, 4).await;
    if [SEEDS, FIRST_SEED].iter().all(|variable| std::env::var(variable).is_err()) {
        assert_driven(&coverage);
    }
}

#[tokio::test]
async fn sqlite_answers_as_the_model_does() {
    let make = async || Place::Sqlite(tempfile::tempdir().expect("a temporary folder"));
    judge_all(make, 1).await;
}

#[cfg(feature = "postgres-tests")]
#[tokio::test]
async fn postgres_answers_as_the_model_does() {
    let server = server::Server::shared();
    judge_all(async || Place::Postgres(server.schema().await), 1).await;
}

#[tokio::test]
async fn defect_is_found_and_shortened() {
    let found = judge(async || Place::Forgetful, 1, STEPS).await;
    let text = found.err().expect("what was deleted is still there");
    let (_, shortened) = text.split_once("shortened to ").expect("is shortened");
    let count = shortened.split(' ').next().and_then(|count| count.parse::<usize>().ok());
    assert!(text.starts_with("seed 1, step ") && count <= Some(8), "{text}");
}
