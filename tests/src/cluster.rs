//! A RabbitMQ cluster of three private nodes, which can be killed and partitioned.

use std::ops::Index;

use serde_json::Value;

use crate::broker::Broker;
use crate::wait::eventually;

/// Three nodes: the smallest cluster that keeps a majority without one of them.
#[derive(Debug)]
pub struct Cluster {
    nodes: [Broker; 3],
}

impl Cluster {
    /// Starts three nodes of this test's own. Returns `None`, and reports the test as skipped, if RabbitMQ is not installed.
    pub fn of_three() -> Option<Cluster> {
        let first = Broker::first_of_cluster()?;
        let (second, third) = (first.join(), first.join());
        Some(Cluster { nodes: [first, second, third] })
    }

    /// Closes the connections between a node and the others and prevents new ones. The clients' connections stay open.
    pub fn cut_off(&self, node: usize) {
        self.each_other(node, "begin erlang:set_cookie(Other, stranger), erlang:disconnect_node(Other) end");
    }

    /// Reconnects a node that was cut off, and waits until all three are one cluster again.
    pub fn heal(&self, node: usize) {
        self.each_other(node, "erlang:set_cookie(Other, erlang:get_cookie())");
        eventually("all three nodes are one cluster again", || {
            let running = |node: &Broker| node.ctl(&["eval", "length(rabbit_nodes:all_running())."]);
            self.nodes.iter().all(|node| running(node) == "3").then_some(())
        });
    }

    /// Waits until every queue has a replica more than it needs: then any node may be stopped.
    pub fn wait_until_replicas_are_online(&self) {
        let online = self.nodes[0].ctl(&["eval", "rabbit_upgrade_preparation:await_online_quorum_plus_one(60000)."]);
        assert_eq!(online, "true", "after 60 s, a queue still lacks a replica");
    }

    /// Evaluates `act` on a node for each `Other` node. Erlang accepts a connection only if both sides know the same cookie,
    /// so it is enough to change the cookie on one side; unlike a firewall rule, that needs no root.
    fn each_other(&self, node: usize, act: &str) {
        self.nodes[node].ctl(&["eval", &format!("[{act} || Other <- lists:delete(node(), rabbit_nodes:all())].")]);
    }

    /// Whether a node is running. One that is cut off from the majority stops itself.
    pub fn takes_part(&self, node: usize) -> bool {
        self.nodes[node].ctl(&["eval", "rabbit:is_running()."]) == "true"
    }

    /// The names of the queues and streams whose leader is on this node.
    pub fn led_by(&self, node: usize) -> Vec<String> {
        let name = self.nodes[node].ctl(&["eval", "node()."]);
        let queues = self.nodes[node].ctl(&["list_queues", "name", "leader", "--formatter", "json"]);
        let queues: Vec<Value> = serde_json::from_str(&queues).unwrap();
        let led = queues.iter().filter(|queue| queue["leader"].as_str() == Some(name.trim_matches('\'')));
        led.map(|queue| queue["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Index<usize> for Cluster {
    type Output = Broker;

    fn index(&self, node: usize) -> &Broker {
        &self.nodes[node]
    }
}
