use serde_json::Value;

use crate::model::{Dag, Dataset, DatasetNode, Schedule, WeightRule, normal_uri};

/// Targets whose reachability is found in one pass over the edges.
const BLOCK_WORDS: usize = 16;
const BLOCK: usize = BLOCK_WORDS * 64;

/// Sets what follows from the rest of a DAG that has passed its checks: tasks' dates within the DAG's (Airflow 2.11,
/// `DAG.add_task`), their effective priorities, and the normal form of the URIs of datasets.
pub fn settle(dag: &mut Dag) {
    for task in &mut dag.tasks {
        task.start_date = task.start_date.max(dag.start_date);
        task.end_date = match (task.end_date, dag.end_date) {
            (Some(own), Some(all)) => Some(own.min(all)),
            (own, all) => own.or(all),
        };
    }
    set_effective_priorities(dag);
    set_normal_uris(dag);
}

fn set_normal_uris(dag: &mut Dag) {
    if let Schedule::Datasets { condition } | Schedule::DatasetOrTime { condition, .. } = &mut dag.schedule {
        for node in &mut condition.postfix {
            if let DatasetNode::Uri(uri) = node
                && let Ok(normal) = normal_uri(uri)
            {
                *uri = normal;
            }
        }
    }
    for task in &mut dag.tasks {
        for value in task.inlets.iter_mut().chain(&mut task.outlets) {
            normalize(value);
        }
    }
}

fn normalize(value: &mut Value) {
    if let Some(dataset) = Dataset::from_value(value)
        && let Ok(uri) = normal_uri(&dataset.uri)
    {
        *value = Dataset { uri, ..dataset }.into_value();
    }
}

/// Sets each task's effective priority from the weights and rules in its DAG: its own weight, plus those of all tasks
/// after it (or before it), each once, limited to 32 bits (Airflow 2.11, `task/priority_strategy.py`).
///
/// Expects a DAG without cycles; in one with cycles, tasks on or behind a cycle keep their own weight.
fn set_effective_priorities(dag: &mut Dag) {
    let downstream: Vec<Vec<u32>> =
        dag.downstream().into_iter().map(|list| list.into_iter().map(|ix| ix.0).collect()).collect();
    let count = dag.tasks.len();
    let upstream: Vec<Vec<u32>> = dag
        .tasks
        .iter()
        .map(|task| task.upstream.iter().map(|ix| ix.0).filter(|&ix| (ix as usize) < count).collect())
        .collect();
    let weights: Vec<i64> = dag.tasks.iter().map(|task| i64::from(task.priority_weight)).collect();
    let wants = |rule| dag.tasks.iter().map(|task| task.weight_rule == rule).collect::<Vec<_>>();

    let order = topological_order(&downstream, &upstream);
    let mut reversed = order.clone();
    reversed.reverse();
    let down = reachable_sums(&downstream, &order, &weights, &wants(WeightRule::Downstream));
    let up = reachable_sums(&upstream, &reversed, &weights, &wants(WeightRule::Upstream));

    for (index, task) in dag.tasks.iter_mut().enumerate() {
        let weight = match task.weight_rule {
            WeightRule::Absolute => weights[index],
            WeightRule::Downstream => down[index],
            WeightRule::Upstream => up[index],
        };
        task.effective_priority = i32::try_from(weight).unwrap_or(if weight < 0 { i32::MIN } else { i32::MAX });
    }
}

/// The tasks in an order in which each comes after all its upstreams; tasks on or behind a cycle are left out.
fn topological_order(downstream: &[Vec<u32>], upstream: &[Vec<u32>]) -> Vec<u32> {
    let mut waits: Vec<usize> = upstream.iter().map(Vec::len).collect();
    let mut order: Vec<u32> = (0..).zip(&waits).filter(|(_, waits)| **waits == 0).map(|(task, _)| task).collect();
    let mut next = 0;
    while let Some(&task) = order.get(next) {
        next += 1;
        for &down in &downstream[task as usize] {
            waits[down as usize] -= 1;
            if waits[down as usize] == 0 {
                order.push(down);
            }
        }
    }
    order
}

/// For each task that is wanted: its weight plus those of all tasks that can be reached by `edges`, each once.
///
/// A task with one successor needs no search: it reaches that one and what that one reaches. For the others it is counted
/// who reaches whom, either by a walk from each or, where there are many, for a block of targets at a time.
fn reachable_sums(edges: &[Vec<u32>], order: &[u32], weights: &[i64], wanted: &[bool]) -> Vec<i64> {
    let count = edges.len();
    let mut sums = weights.to_vec();
    // A task that is not wanted may still be on the way of a wanted one with a single successor.
    let mut needed = wanted.to_vec();
    for &task in order {
        if let ([next], true) = (edges[task as usize].as_slice(), needed[task as usize]) {
            needed[*next as usize] = true;
        }
    }
    let hard: Vec<u32> = order.iter().copied().filter(|&t| needed[t as usize] && edges[t as usize].len() > 1).collect();
    if hard.len() <= count / 32 {
        walk_from_each(edges, weights, &hard, &mut sums);
    } else {
        count_by_blocks(edges, order, weights, &mut sums);
    }
    for &task in order.iter().rev() {
        if let ([next], true) = (edges[task as usize].as_slice(), needed[task as usize]) {
            sums[task as usize] = weights[task as usize] + sums[*next as usize];
        }
    }
    sums
}

fn walk_from_each(edges: &[Vec<u32>], weights: &[i64], hard: &[u32], sums: &mut [i64]) {
    let mut seen_by = vec![u32::MAX; edges.len()];
    let mut stack = Vec::new();
    for &start in hard {
        let mut sum = 0;
        seen_by[start as usize] = start;
        stack.push(start);
        while let Some(task) = stack.pop() {
            sum += weights[task as usize];
            for &next in &edges[task as usize] {
                if seen_by[next as usize] != start {
                    seen_by[next as usize] = start;
                    stack.push(next);
                }
            }
        }
        sums[start as usize] = sum;
    }
}

fn count_by_blocks(edges: &[Vec<u32>], order: &[u32], weights: &[i64], sums: &mut [i64]) {
    for &task in order {
        sums[task as usize] = 0;
    }
    let mut place = vec![0_usize; edges.len()];
    for (position, &task) in order.iter().enumerate() {
        place[task as usize] = position;
    }
    let succeeding: Vec<Vec<u32>> = order
        .iter()
        .map(|&task| {
            let places = edges[task as usize].iter().map(|&next| place[next as usize]);
            places.map(|place| u32::try_from(place).unwrap_or(u32::MAX)).collect()
        })
        .collect();

    let mut rows = vec![[0_u64; BLOCK_WORDS]; order.len()];
    for first in (0..order.len()).step_by(BLOCK) {
        let end = (first + BLOCK).min(order.len());
        let planes = bit_planes(order[first..end].iter().map(|&task| weights[task as usize]));
        for position in (0..end).rev() {
            let mut row = [0_u64; BLOCK_WORDS];
            for &next in &succeeding[position] {
                if (next as usize) < end {
                    for (word, other) in row.iter_mut().zip(&rows[next as usize]) {
                        *word |= other;
                    }
                }
            }
            if position >= first {
                row[(position - first) / 64] |= 1 << ((position - first) % 64);
            }
            let sum = &mut sums[order[position] as usize];
            for (value, plane) in &planes {
                let reached: u32 = row.iter().zip(plane).map(|(word, mask)| (word & mask).count_ones()).sum();
                *sum += value * i64::from(reached);
            }
            rows[position] = row;
        }
    }
}

/// For each binary digit that one of the weights has: its value, and who has it. Sums of weights become counts of bits.
fn bit_planes(weights: impl Iterator<Item = i64>) -> Vec<(i64, [u64; BLOCK_WORDS])> {
    let mut planes: Vec<_> = (0..32).map(|digit| (1_i64 << digit, [0_u64; BLOCK_WORDS])).collect();
    for (index, weight) in weights.enumerate() {
        for (digit, (_, plane)) in planes.iter_mut().enumerate().take(31) {
            plane[index / 64] |= u64::from((weight >> digit) & 1 == 1) << (index % 64);
        }
        // In two's complement the last digit of 32 counts negatively.
        planes[31].1[index / 64] |= u64::from(weight < 0) << (index % 64);
    }
    planes[31].0 = -(1 << 31);
    planes.retain(|(_, plane)| plane.iter().any(|word| *word != 0));
    planes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::id::TaskIx;
    use crate::model::{OperatorRef, Task};

    fn dag(edges: &[Vec<usize>], weights: &[i32], rule: WeightRule) -> Dag {
        let mut dag = Dag::new("d");
        for (i, upstream) in edges.iter().enumerate() {
            let mut task = Task::new(format!("t{i}"), OperatorRef::from_path("x.Y"));
            task.upstream = upstream.iter().map(|&up| TaskIx::from_index(up)).collect();
            task.priority_weight = weights.get(i).copied().unwrap_or(1);
            task.weight_rule = rule;
            dag.tasks.push(task);
        }
        dag
    }

    fn priorities(mut dag: Dag) -> Vec<i32> {
        set_effective_priorities(&mut dag);
        dag.tasks.iter().map(|task| task.effective_priority).collect()
    }

    #[test]
    fn a_diamond_counts_each_task_once() {
        let edges = [vec![], vec![0], vec![0], vec![1, 2]];
        assert_eq!(priorities(dag(&edges, &[1, 10, 100, 1000], WeightRule::Downstream)), [1111, 1010, 1100, 1000]);
        assert_eq!(priorities(dag(&edges, &[1, 10, 100, 1000], WeightRule::Upstream)), [1, 11, 101, 1111]);
        assert_eq!(priorities(dag(&edges, &[1, 10, 100, 1000], WeightRule::Absolute)), [1, 10, 100, 1000]);
    }

    #[test]
    fn sums_stop_at_32_bits() {
        let edges = [vec![], vec![0]];
        assert_eq!(priorities(dag(&edges, &[i32::MAX, i32::MAX], WeightRule::Downstream))[0], i32::MAX);
        assert_eq!(priorities(dag(&edges, &[i32::MIN, i32::MIN], WeightRule::Downstream))[0], i32::MIN);
    }

    #[test]
    fn a_chain_of_100_000_takes_no_time() {
        let edges: Vec<_> = (0..100_000_usize).map(|i| i.checked_sub(1).into_iter().collect()).collect();
        let priorities = priorities(dag(&edges, &[], WeightRule::Downstream));
        assert_eq!((priorities[0], priorities[99_999]), (100_000, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn sums_are_those_of_a_naive_search(
            seeds in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..4), -3..9_i32), 1..90),
            copies in prop_oneof![Just(1_usize), Just(20)],
        ) {
            // Copies behind one another make blocks overlap.
            let size = seeds.len();
            let mut edges = Vec::new();
            let mut weights = Vec::new();
            for copy in 0..copies {
                for (i, (ups, weight)) in seeds.iter().enumerate() {
                    let here = copy * size + i;
                    let upstream: BTreeSet<usize> =
                        if here == 0 { BTreeSet::new() } else { ups.iter().map(|up| up.index(here)).collect() };
                    edges.push(upstream.into_iter().collect::<Vec<_>>());
                    weights.push(*weight);
                }
            }
            let mut reach: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); edges.len()];
            for i in 0..edges.len() {
                let mut set = BTreeSet::from([i]);
                for &up in &edges[i] {
                    set.extend(reach[up].iter().copied());
                }
                reach[i] = set;
            }
            let naive: Vec<i32> = reach.iter().map(|set| set.iter().map(|&i| weights[i]).sum()).collect();
            prop_assert_eq!(priorities(dag(&edges, &weights, WeightRule::Upstream)), naive);
            let naive: Vec<i32> = (0..edges.len())
                .map(|i| (0..edges.len()).filter(|&j| reach[j].contains(&i)).map(|j| weights[j]).sum())
                .collect();
            prop_assert_eq!(priorities(dag(&edges, &weights, WeightRule::Downstream)), naive);
        }
    }
}
