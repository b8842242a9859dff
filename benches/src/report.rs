//! Prints figures as JSON lines.

use std::time::Duration;

use serde_json::{Value, json};

/// The median of some times.
pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The median of the ratios of pairs that were measured one after the other.
pub fn ratio(times: &[Duration], floors: &[Duration]) -> f64 {
    let pairs = times.iter().zip(floors);
    let mut ratios: Vec<f64> = pairs.map(|(time, floor)| time.as_secs_f64() / floor.as_secs_f64().max(1e-9)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    (ratios.get(ratios.len() / 2).copied().unwrap_or_default() * 100.0).round() / 100.0
}

/// Nanoseconds a task.
pub fn nanos_a_task(time: Duration, tasks: usize) -> u64 {
    u64::try_from(time.as_nanos() / (tasks.max(1) as u128)).unwrap_or(u64::MAX)
}

/// The value below which this share (in thousandths) of the times lies, in microseconds.
pub fn quantile_micros(times: &mut [Duration], thousandths: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * thousandths / 1000).min(times.len().saturating_sub(1));
    times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Prints a line.
pub fn line(bench: &str, shape: &str, tasks: usize, figures: &[(&str, Value)]) {
    let mut line = json!({ "bench": bench, "shape": shape, "tasks": tasks });
    if let Value::Object(map) = &mut line {
        map.extend(figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    println!("{line}");
}

/// Processor time that all threads of this process have used; zero where `/proc` does not tell.
pub fn cpu_time() -> Duration {
    cpu_time_of("self")
}

/// Processor time that all threads of a process have used, which `/proc` knows by this name.
pub fn cpu_time_of(process: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    used.sum()
}

/// Resident memory of this process in bytes; 0 where `/proc` does not tell.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * 4096
}

/// Starts the measurement of [`peak_resident_bytes`] anew.
pub fn reset_peak() {
    // Where Linux does not let us, the peak is that of the process's whole life.
    std::fs::write("/proc/self/clear_refs", "5").ok();
}

/// The most resident memory of this process in bytes; 0 where `/proc` does not tell.
pub fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
