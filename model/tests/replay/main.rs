//! Replays paths of the model on the real service, step by step. The service must take the same steps, give the same
//! answers and leave the same records.
//!
//! A path allows each step of the ledger and of the providers in turn, and says how the step ends. If the model or the
//! service is changed alone, the two differ on some path, and a test fails.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figures"
)]

mod answers;
mod controls;
#[path = "../../../tests/ledger/emulator.rs"]
#[expect(dead_code, reason = "shared with the tests of the ledger")]
mod emulator;
mod gate;
mod kinds;
mod path;
mod requests;
mod walk;
mod world;

use kinds::Kinds;
use model::Action;
use otp_lambda::ledger::Door;
use path::{Flaw, Replay};
use simulator::{is_full, sized};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use walk::Worlds;
use world::Store;

/// Replays a path that its number determines.
async fn replay(
    worlds: &Worlds,
    path: u64,
    store: &mut Store,
    flaw: Option<Flaw>,
) -> Result<Kinds, String> {
    let (model, state, mut rng) = walk::start(worlds, path);
    let mut replay = Replay::start(model, state, path, store, flaw).await;
    let mut kinds = Kinds::default();
    let mut actions = Vec::new();
    for _ in walk::steps() {
        let Some(action) = walk::choose(&model, &replay.state, &mut rng) else {
            break;
        };
        actions.push(action);
        let door = kinds.step(&replay.state, action);
        let told = |what| format!("path {path}: {what}\n{}", lines(&actions));
        let answer = replay.act(action).await.map_err(told)?;
        if let Some(answer) = answer {
            kinds.answer(door, answer);
            // Every answer of the table in memory, and the end of the other one.
            if matches!(store, Store::Memory(_)) {
                replay.compare().await.map_err(told)?;
            }
        }
    }
    let compared = replay.compare().await;
    compared.map_err(|what| format!("path {path}: {what}\n{}", lines(&actions)))?;
    store.clear();
    Ok(kinds)
}

fn lines(actions: &[Action]) -> String {
    let lines: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
    lines.join("\n")
}

/// A runtime with a clock that stands still. On a slow machine, no step ends because of its time limit.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Replays paths on as many threads as there are, until one is not as expected.
fn replay_all(
    worlds: &Worlds,
    new: fn() -> Store,
    paths: u64,
    flaw: Option<Flaw>,
) -> Result<Kinds, String> {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = || {
        runtime().block_on(async {
            let mut store = new();
            let mut kinds = Kinds::default();
            loop {
                let path = next.fetch_add(1, Relaxed);
                if path >= paths {
                    return Ok(kinds);
                }
                match replay(worlds, path, &mut store, flaw).await {
                    Ok(of_path) => kinds.add(of_path),
                    Err(what) => {
                        next.store(paths, Relaxed);
                        return Err(what);
                    }
                }
            }
        })
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut kinds = Kinds::default();
        for thread in running {
            kinds.add(thread.join().unwrap()?);
        }
        Ok(kinds)
    })
}

fn same_answers(name: &str, worlds: &Worlds, new: fn() -> Store, paths: u64) -> Kinds {
    let start = Instant::now();
    let kinds = replay_all(worlds, new, paths, None).unwrap_or_else(|what| panic!("{what}"));
    println!(
        "{name}: {paths} paths, {} steps, {} answers in {:.1?}",
        kinds.steps(),
        kinds.answers(),
        start.elapsed()
    );
    kinds
}

fn has_every_kind(kinds: &Kinds, door: Door) {
    let missing = kinds.missing(door);
    if is_full() {
        assert!(missing.is_empty(), "no path has {missing:?}");
    }
}

#[test]
fn the_service_answers_as_the_model_does() {
    let paths = sized(600, 6_000);
    let kinds = same_answers("memory", &walk::OVER_HTTP, Store::memory, paths);
    has_every_kind(&kinds, Door::Http);
}

#[test]
fn the_service_answers_as_the_model_does_over_dynamodb() {
    let paths = sized(60, 7_000);
    let kinds = same_answers("DynamoDB", &walk::OVER_HTTP, Store::dynamodb, paths);
    has_every_kind(&kinds, Door::Http);
}

#[test]
fn sign_ins_of_the_service_are_those_of_the_model() {
    let paths = sized(600, 15_000);
    let kinds = same_answers("sign-ins, memory", &walk::SIGN_INS, Store::memory, paths);
    has_every_kind(&kinds, Door::SignIn);
}

#[test]
fn sign_ins_of_the_service_are_those_of_the_model_over_dynamodb() {
    // These paths are the first of the paths over memory, which have every kind of step and answer.
    let paths = sized(60, 3_000);
    same_answers(
        "sign-ins, DynamoDB",
        &walk::SIGN_INS,
        Store::dynamodb,
        paths,
    );
}
