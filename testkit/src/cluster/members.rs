//! The steps in which members leave, return and join.

use driftless::ReplicaId;

use crate::cluster::{Cluster, MOST, Node};
use crate::history::{Group, Route};
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// The replicas within a group.
    fn those(&self, group: Group) -> impl Iterator<Item = usize> + use<S> {
        (0..self.nodes.len()).filter(move |at| group >> at & 1 == 1)
    }

    /// The others no longer wait for some: a few of them at once, others later or never.
    pub(super) fn evict(&mut self, who: Group, by: Group) {
        self.note(format!("{who:08b} are evicted by {by:08b}"));
        for who in self.those(who) {
            let id = self.nodes[who].replica.id();
            self.coverage.evictions += 1;
            if !self.evicted.contains(&who) {
                self.evicted.push(who);
            }
            for node in others(&mut self.nodes, who, by) {
                let members = node.replica.members().iter().filter(|member| **member != id);
                let members: Vec<_> = members.copied().collect();
                node.replica.set_members(members);
            }
        }
        self.coverage.several_absent += usize::from(self.evicted.len() > 1);
    }

    /// The others wait for some again.
    pub(super) fn readmit(&mut self, who: Group, by: Group) {
        self.note(format!("{who:08b} are members again for {by:08b}"));
        for who in self.those(who) {
            let id = self.nodes[who].replica.id();
            others(&mut self.nodes, who, by).for_each(|node| admit(node, id));
            if let Some(place) = self.evicted.iter().position(|evicted| *evicted == who) {
                self.evicted.remove(place);
                self.coverage.readmitted += 1;
                self.coverage.readmitted_in_another_order += usize::from(place > 0);
            }
        }
    }

    /// Some, or none, are evicted by all others, who sync with each other and forget. So do the absent, if it is mutual.
    pub(super) fn absence(&mut self, who: Group, is_mutual: bool) -> Result<(), String> {
        // One at least stays.
        let all = self.those(Group::MAX).fold(0, |all, at| all | 1 << at);
        let absent = if who & all == all { all & !1 } else { who & all };
        let present = all & !absent;
        self.evict(absent, present);
        self.sync_and_settle(present)?;
        if is_mutual && absent != 0 {
            self.coverage.splits += 1;
            self.evict(present, absent);
            self.sync_and_settle(absent)?;
        }
        Ok(())
    }

    /// All of a group sync with each other and forget.
    fn sync_and_settle(&mut self, group: Group) -> Result<(), String> {
        let group: Vec<_> = self.those(group).collect();
        for round in 0..2 {
            for (from, to) in group.iter().zip(group.iter().cycle().skip(1)) {
                if from == to {
                    self.forget(*from)?;
                    continue;
                }
                if round == 0 {
                    self.sync((*from, *to), Route::Message)?;
                    self.sync((*to, *from), Route::Message)?;
                }
                self.settle((*from, *to))?;
            }
        }
        Ok(())
    }

    /// One is a member again for all, and all are for it; it syncs both ways with one of them.
    pub(super) fn come_back(&mut self, (who, with): (usize, usize), is_asking: bool) -> Result<(), String> {
        self.readmit(1 << who, Group::MAX);
        let ids = self.ids();
        self.nodes[who].replica.set_members(ids);
        let (first, second) = if is_asking { ((with, who), (who, with)) } else { ((who, with), (with, who)) };
        self.sync(first, Route::Message)?;
        self.sync(second, Route::Message)
    }

    /// A new replica comes, if there may be one more.
    pub(super) fn join(&mut self, known_by: Group) {
        let number = self.nodes.len();
        if number == MOST {
            return;
        }
        self.note(format!("replica {number} joins, known by {known_by:08b}"));
        self.coverage.joins += 1;
        let node = self.add_node();
        node.is_joiner = true;
        let id = node.replica.id();
        let ids = self.ids();
        self.nodes[number].replica.set_members(ids);
        others(&mut self.nodes, number, known_by).for_each(|node| admit(node, id));
        let is_member = |node: &Node<S>| node.replica.members().contains(&id);
        self.coverage.joins_not_known_to_all += usize::from(!self.nodes.iter().all(is_member));
    }

    /// Whether another one does not wait for a replica.
    pub(super) fn is_evicted(&self, who: usize, at: usize) -> bool {
        !self.nodes[at].replica.members().contains(&self.nodes[who].replica.id())
    }
}

/// The replicas but one, those within a group.
fn others<S>(nodes: &mut [Node<S>], but: usize, group: Group) -> impl Iterator<Item = &mut Node<S>> {
    let others = nodes.iter_mut().enumerate().filter(move |(at, _)| *at != but && group >> at & 1 == 1);
    others.map(|(_, node)| node)
}

fn admit<S: Subject>(node: &mut Node<S>, id: ReplicaId) {
    let members: Vec<_> = node.replica.members().iter().copied().chain([id]).collect();
    node.replica.set_members(members);
}
