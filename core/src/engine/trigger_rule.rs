//! May a task start, given how many of its upstreams ended how? (Airflow 2.11, `ti_deps/deps/trigger_rule_dep.py`.)

use crate::model::{TaskState, TriggerRule};

/// How the direct upstreams of a task ended so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Succeeded.
    pub success: u32,
    /// Were skipped.
    pub skipped: u32,
    /// Failed.
    pub failed: u32,
    /// Did not run because of a failure before them.
    pub upstream_failed: u32,
    /// Are no longer in the DAG.
    pub removed: u32,
}

impl Ended {
    /// Counts one more that ended in `state`; other states are not counted.
    pub fn add(&mut self, state: TaskState) {
        match state {
            TaskState::Success => self.success += 1,
            TaskState::Skipped => self.skipped += 1,
            TaskState::Failed => self.failed += 1,
            TaskState::UpstreamFailed => self.upstream_failed += 1,
            TaskState::Removed => self.removed += 1,
            _ => {}
        }
    }

    /// How many ended.
    pub fn done(&self) -> u32 {
        self.success + self.skipped + self.failed + self.upstream_failed + self.removed
    }
}

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It waits for more upstreams to end.
    Wait,
    /// It may start.
    Run,
    /// It will not run, and ends in this state.
    Settle(TaskState),
}

/// Judges a task with `upstreams` direct upstreams, of which some `ended`; `setups` are those of them that are setups
/// (their number, and how they ended).
pub fn judge(rule: TriggerRule, upstreams: u32, ended: &Ended, setups: (u32, Ended)) -> Judgement {
    use Judgement::{Run, Settle, Wait};
    const SKIP: Judgement = Settle(TaskState::Skipped);
    const UPSTREAM_FAILED: Judgement = Settle(TaskState::UpstreamFailed);

    if upstreams == 0 || rule == TriggerRule::Always {
        return Run;
    }
    let failures = ended.failed + ended.upstream_failed;
    let all_done = ended.done() >= upstreams;
    let run_if = |holds| if holds { Run } else { Wait };
    match rule {
        TriggerRule::Always => Run,
        TriggerRule::AllSuccess if failures > 0 => UPSTREAM_FAILED,
        TriggerRule::AllSuccess if ended.skipped > 0 => SKIP,
        TriggerRule::AllSuccess => run_if(ended.success >= upstreams),
        TriggerRule::AllFailed if ended.success + ended.skipped > 0 => SKIP,
        TriggerRule::AllFailed => run_if(failures >= upstreams),
        TriggerRule::AllDone => run_if(all_done),
        TriggerRule::AllDoneSetupSuccess => match setups {
            _ if !all_done => Wait,
            (0, _) => Run,
            (count, setups) if setups.skipped >= count => SKIP,
            (_, setups) if setups.success == 0 => UPSTREAM_FAILED,
            _ => Run,
        },
        TriggerRule::AllSkipped if ended.success + failures > 0 => SKIP,
        TriggerRule::AllSkipped => run_if(ended.skipped >= upstreams),
        TriggerRule::OneSuccess if ended.success > 0 => Run,
        TriggerRule::OneSuccess if all_done && ended.skipped >= upstreams => SKIP,
        TriggerRule::OneSuccess if all_done => UPSTREAM_FAILED,
        TriggerRule::OneSuccess => Wait,
        TriggerRule::OneFailed if failures > 0 => Run,
        TriggerRule::OneFailed if all_done => SKIP,
        TriggerRule::OneFailed => Wait,
        TriggerRule::OneDone if ended.success + ended.failed > 0 => Run,
        TriggerRule::OneDone if all_done => SKIP,
        TriggerRule::OneDone => Wait,
        TriggerRule::NoneFailed if failures > 0 => UPSTREAM_FAILED,
        TriggerRule::NoneFailed => run_if(ended.success + ended.skipped >= upstreams),
        TriggerRule::NoneFailedMinOneSuccess if failures > 0 => UPSTREAM_FAILED,
        TriggerRule::NoneFailedMinOneSuccess if ended.skipped >= upstreams => SKIP,
        TriggerRule::NoneFailedMinOneSuccess => run_if(ended.success + ended.skipped >= upstreams),
        TriggerRule::NoneSkipped if ended.skipped > 0 => SKIP,
        TriggerRule::NoneSkipped => run_if(all_done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Airflow 2.11.2: a task with these upstreams ends as S(uccess), U(pstream_failed) or skipped (-).
    /// Columns: ok ok, ok fail, ok skip, fail fail, fail skip, skip skip, ok fail skip, upfail ok.
    const MATRIX: [(&str, &str); 12] = [
        ("all_success", "SU-UU-UU"),
        ("all_failed", "---S----"),
        ("all_done", "SSSSSSSS"),
        ("always", "SSSSSSSS"),
        ("all_skipped", "-----S--"),
        ("none_failed", "SUSUUSUU"),
        ("none_failed_min_one_success", "SUSUU-UU"),
        ("none_skipped", "SS-S---S"),
        ("one_done", "SSSSS-SS"),
        ("one_failed", "-S-SS-SS"),
        ("one_success", "SSSUU-SS"),
        ("all_done_setup_success", "SSSSSSSS"),
    ];
    const COLUMNS: [&[TaskState]; 8] = {
        use TaskState::{Failed as F, Skipped as K, Success as S, UpstreamFailed as U};
        [&[S, S], &[S, F], &[S, K], &[F, F], &[F, K], &[K, K], &[S, F, K], &[U, S]]
    };

    #[test]
    fn rules_end_as_in_airflow() {
        for (rule, expected) in MATRIX {
            let rule: TriggerRule = rule.parse().unwrap();
            for (states, expected) in COLUMNS.iter().zip(expected.chars()) {
                let mut ended = Ended::default();
                states.iter().for_each(|&state| ended.add(state));
                let total = u32::try_from(states.len()).unwrap();
                let expected = match expected {
                    'S' => Judgement::Run,
                    'U' => Judgement::Settle(TaskState::UpstreamFailed),
                    _ => Judgement::Settle(TaskState::Skipped),
                };
                assert_eq!(judge(rule, total, &ended, (0, Ended::default())), expected, "{rule} {states:?}");
            }
        }
    }

    #[test]
    fn a_decision_never_changes_when_more_upstreams_end() {
        // What was decided early holds for every way in which the others may end, but for the two rules that prefer a
        // failure to a skip and so depend on the order in Airflow, too.
        let ends = [TaskState::Success, TaskState::Failed, TaskState::Skipped, TaskState::UpstreamFailed];
        for rule in TriggerRule::ALL {
            for first in ends {
                let mut ended = Ended::default();
                ended.add(first);
                let early = judge(rule, 2, &ended, (0, Ended::default()));
                for second in ends {
                    let mut ended = ended;
                    ended.add(second);
                    let late = judge(rule, 2, &ended, (0, Ended::default()));
                    assert_ne!(late, Judgement::Wait, "{rule} {first} {second}");
                    let order_matters = first == TaskState::Skipped && rule == TriggerRule::AllSuccess;
                    if early != Judgement::Wait && !order_matters {
                        assert_eq!(early, late, "{rule} {first} {second}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_teardown_needs_a_setup_that_succeeded() {
        let ended = Ended { success: 1, failed: 1, ..Ended::default() };
        let failed = Ended { failed: 1, ..Ended::default() };
        let skipped = Ended { skipped: 1, ..Ended::default() };
        let success = Ended { success: 1, ..Ended::default() };
        let judge = |setup| judge(TriggerRule::AllDoneSetupSuccess, 2, &ended, (1, setup));
        assert_eq!(judge(failed), Judgement::Settle(TaskState::UpstreamFailed));
        assert_eq!(judge(skipped), Judgement::Settle(TaskState::Skipped));
        assert_eq!(judge(success), Judgement::Run);
    }
}
