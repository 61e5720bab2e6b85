//! How long the driver took for each volume's first publication, as the agents' logs tell it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::e2e::Stage;

const BEGINS: &str = "a volume is asked for: ";
const ENDS: &str = "a volume was asked for: good=true ";

/// The times of all volumes, node after node in the order of their ends.
pub fn times(stage: &Stage) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    for index in 0..2 {
        let log = std::fs::read_to_string(stage.agent_file(index)?)?;
        all.extend(first_times(&log)?);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, took)| took).collect())
}

/// When each volume was there, and how long that took. Kubelet asks again and again; only its first call counts.
fn first_times(log: &str) -> Result<Vec<(u64, Duration)>> {
    let mut begun: HashMap<&str, Option<u64>> = HashMap::new();
    let mut times = Vec::new();
    for line in log.lines() {
        let Some((_, volume)) = line.split_once("volume=") else { continue };
        if line.contains(BEGINS) {
            begun.entry(volume).or_insert(Some(milliseconds(line)?));
        } else if line.contains(ENDS)
            && let Some(from) = begun.get_mut(volume).and_then(Option::take)
        {
            let at = milliseconds(line)?;
            times.push((at, Duration::from_millis(at.saturating_sub(from))));
        }
    }
    Ok(times)
}

/// Of the day, from a line that begins with a time of RFC 3339.
fn milliseconds(line: &str) -> Result<u64> {
    let clock = line.split_once('T').and_then(|(_, rest)| rest.get(..12)).context("a line without its time")?;
    let number = |from: usize, to: usize| -> Result<u64> { Ok(clock.get(from..to).context("a short time")?.parse()?) };
    Ok(((number(0, 2)? * 60 + number(3, 5)?) * 60 + number(6, 8)?) * 1000 + number(9, 12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_call_counts() {
        let log = "\
2026-11-28T23:21:10.976Z [INFO]  dewdrop_node.csi.identity: kubelet knows the driver
2026-11-28T23:21:12.730Z [DEBUG] dewdrop_node.csi.node: a volume is asked for: volume=csi-a
2026-11-28T23:21:12.740Z [DEBUG] dewdrop_node.csi.node: a volume is asked for: volume=csi-b
2026-11-28T23:21:12.775Z [DEBUG] dewdrop_node.csi.node: a volume was asked for: good=true volume=csi-a
2026-11-28T23:21:13.335Z [DEBUG] dewdrop_node.csi.node: a volume is asked for: volume=csi-a
2026-11-28T23:21:13.337Z [DEBUG] dewdrop_node.csi.node: a volume was asked for: good=true volume=csi-a
2026-11-28T23:22:00.740Z [DEBUG] dewdrop_node.csi.node: a volume was asked for: good=true volume=csi-b
";
        let took: Vec<u128> = first_times(log).unwrap().into_iter().map(|(_, took)| took.as_millis()).collect();
        assert_eq!(took, [45, 48_000]);
    }
}
