//! A cluster of three private brokers, whose nodes can be killed, and cut off from each other.

use std::ops::Index;

use serde_json::Value;

use crate::broker::Broker;
use crate::wait::eventually;

/// Three nodes: the least of which one may be missing.
#[derive(Debug)]
pub struct Cluster {
    nodes: [Broker; 3],
}

impl Cluster {
    /// Three nodes of one's own, whatever `AMQP_URL` names; nothing, and a line that says so, where RabbitMQ is not installed.
    ///
    /// # Panics
    /// Where they do not start, or do not find each other.
    pub fn of_three() -> Option<Cluster> {
        let first = Broker::first_of_cluster()?;
        let (second, third) = (first.another(), first.another());
        Some(Cluster { nodes: [first, second, third] })
    }

    /// Ends all connections between a node and the others, and lets them make no new ones. The broker's clients keep theirs.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn cut_off(&self, node: usize) {
        self.each_other(node, "begin erlang:set_cookie(Other, stranger), erlang:disconnect_node(Other) end");
    }

    /// Lets a node that was cut off and the others find each other again, and waits until they have.
    ///
    /// # Panics
    /// Where they do not within a minute.
    pub fn heal(&self, node: usize) {
        self.each_other(node, "erlang:set_cookie(Other, erlang:get_cookie())");
        eventually("all three nodes are one cluster again", || {
            let running = |node: &Broker| node.ctl(&["eval", "length(rabbit_nodes:all_running())."]);
            self.nodes.iter().all(|node| running(node) == "3").then_some(())
        });
    }

    /// Has a node do something about each `Other`. It is enough that one side takes the other for a stranger: Erlang's cookie has
    /// to be right on both. So a node is cut off as by a network, with no rights of an administrator.
    fn each_other(&self, node: usize, act: &str) {
        self.nodes[node].ctl(&["eval", &format!("[{act} || Other <- lists:delete(node(), rabbit_nodes:all())].")]);
    }

    /// Whether a node still takes part: one that is cut off stops itself.
    ///
    /// # Panics
    /// Where its process does not run.
    pub fn takes_part(&self, node: usize) -> bool {
        self.nodes[node].ctl(&["eval", "rabbit:is_running()."]) == "true"
    }

    /// The queues and streams that a node leads, by name.
    ///
    /// # Panics
    /// Where it does not run.
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
