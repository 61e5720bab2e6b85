//! Clusters side by side: each instance has a state folder, a bridge, and addresses of its own. Instance 0 is the usual one.
//!
//! The first node of instance 0 lives in the machine's own network; all nodes of the others have one of their own, for two
//! kube-proxies in one network would take each other's rules away.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::record::Cluster;

/// How many there may be: one machine carries two at most, three if it is large.
const MOST: u8 = 4;

/// Reads a number of the command line.
pub fn number(text: &str) -> Result<u8> {
    match text.parse() {
        Ok(number) if number < MOST => Ok(number),
        _ => bail!("--instance takes 0 to {}, not {text:?}", MOST - 1),
    }
}

/// Where an instance is when nobody says otherwise. Short, for there are sockets below it.
pub fn state(instance: u8) -> PathBuf {
    if instance == 0 { "/run/dewdrop-cluster".into() } else { format!("/run/dewdrop-cluster-{instance}").into() }
}

/// The bridge, and on each node the network that its pods share with it.
pub fn bridge(instance: u8) -> String {
    format!("dew{instance}")
}

/// The machine's address on the bridge: the API server, and the first node of instance 0.
pub fn host(instance: u8) -> String {
    format!("{}.0.1", net(instance))
}

/// The first two numbers of all addresses of nodes and pods.
pub fn net(instance: u8) -> String {
    format!("10.{}", 244 + u16::from(instance))
}

/// The first two numbers of the Services' addresses.
pub fn services(instance: u8) -> String {
    format!("10.{}", 96 + u16::from(instance))
}

/// The other clusters that run on this machine: each bridge tells its state folder.
pub fn others(than: u8) -> Vec<Cluster> {
    let there = |instance: u8| super::network::owner(&bridge(instance)).filter(|owner| !owner.is_empty());
    let found = (0..MOST).filter(|instance| *instance != than).filter_map(there);
    found.filter_map(|owner| Cluster::load(owner.as_ref()).ok().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn instances_share_no_name_and_no_address() {
        let plans: Vec<Cluster> = (0..MOST)
            .map(|instance| Cluster::plan(instance, &state(instance), Path::new("/bin"), 2).expect("plan"))
            .collect();
        let each = |of: &dyn Fn(&Cluster) -> Vec<String>| {
            let mut all: Vec<String> = plans.iter().flat_map(of).collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count, "{all:?}");
        };
        each(&|plan| vec![bridge(plan.instance), host(plan.instance), services(plan.instance)]);
        each(&|plan| plan.nodes.iter().map(|node| node.pods.clone()).collect());
        each(&|plan| plan.nodes.iter().map(|node| node.address.clone()).collect());
        each(&|plan| plan.nodes.iter().map(|node| super::super::texts::network_name(plan, node)).collect());
        each(&|plan| vec![plan.cgroup.clone()]);
    }

    #[test]
    fn only_the_usual_one_lives_in_the_machines_network() {
        for instance in 0..MOST {
            let plan = Cluster::plan(instance, &state(instance), Path::new("/bin"), 1).expect("plan");
            let node = plan.nodes.first().expect("node");
            assert_eq!(node.netns.is_none(), instance == 0);
            assert_eq!(node.address == host(instance), instance == 0, "{}", node.address);
        }
    }

    #[test]
    fn numbers_are_few() {
        assert_eq!((number("0").expect("first"), number("3").expect("last")), (0, 3));
        assert!(number("4").is_err() && number("-1").is_err() && number("").is_err());
    }
}
