//! The scheduler on a simulated clock: random DAGs, tasks and interventions, a storage that stutters, schedulers that die
//! at any await. One seed decides everything; a failing one is printed and can be run alone with `SIMULATION_SEED`.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "this is a test")]

mod simulation {
    pub mod dice;
    pub mod executor;
    pub mod storage;
    pub mod world;
}

use simulation::world::{Faults, World};

/// How many seeds a run tries: `SIMULATION_SEEDS`, or a number that takes seconds.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(150),
    }
}

fn explore(faults: Faults) {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| World::new(seed, faults).live());
        if let Err(panic) = outcome {
            eprintln!("SIMULATION_SEED={seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn without_faults_every_run_ends_as_its_trigger_rules_say() {
    explore(Faults { crashes: false, stutters: false, interventions: false, schedulers: 1 });
}

#[test]
fn a_storage_that_stutters_loses_nothing() {
    explore(Faults { crashes: false, stutters: true, interventions: false, schedulers: 1 });
}

#[test]
fn interventions_leave_consistent_runs() {
    explore(Faults { crashes: false, stutters: true, interventions: true, schedulers: 1 });
}

#[test]
fn a_scheduler_may_die_at_any_await() {
    explore(Faults { crashes: true, stutters: true, interventions: true, schedulers: 1 });
}

#[test]
fn two_schedulers_share_the_work() {
    explore(Faults { crashes: true, stutters: true, interventions: true, schedulers: 2 });
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..20 {
        let faults = Faults { crashes: true, stutters: true, interventions: true, schedulers: 2 };
        let (first, second) = (World::new(seed, faults).live(), World::new(seed, faults).live());
        assert!(!first.is_empty());
        assert_eq!(first, second, "seed {seed}");
    }
}
