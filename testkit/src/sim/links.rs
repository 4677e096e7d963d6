//! Connections are made and break, and frames pass.

use std::rc::Rc;

use driftless::LinkId;

use crate::sim::frames::Frame;
use crate::sim::machine::Input;
use crate::sim::plan::Topology;
use crate::sim::random::Random;
use crate::sim::world::{Happening, Stop, World};
use crate::subject::Subject;

/// How often it is looked which connections are to be made.
const DIAL_MS: u64 = 100;

impl<S: Subject> World<S> {
    /// Who is to be connected with whom: all that are heard as the topology says, and who is silent with whoever can find it
    /// out.
    fn wanted(&self) -> Vec<(usize, usize)> {
        let there = (0..self.processes.len()).filter(|slot| !self.processes[*slot].is_gone());
        let (heard, silent): (Vec<_>, Vec<_>) =
            there.partition(|slot| self.processes[*slot].quarantine.is_none());
        let count = heard.len();
        let pairs = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        let pairs = pairs.filter(|(one, other)| match self.plan.setting.topology {
            Topology::Mesh => true,
            // A copy of the one in the middle is not connected with that, but with all others.
            Topology::Star => {
                let member = |place: usize| self.processes[heard[place]].member;
                *one == 0 || [*one, *other].map(member).contains(&member(0))
            }
            Topology::Ring => other - one == 1 || (*one == 0 && *other == count - 1),
        });
        let pairs = pairs.map(|(one, other)| (heard[one], heard[other]));
        let found_out = silent.iter().flat_map(|one| heard.iter().map(move |other| (*one, *other)));
        let pairs = pairs.chain(found_out);
        pairs.filter(|(one, other)| self.may_meet(*one, *other) && self.may_meet(*other, *one)).collect()
    }

    /// Whether a process may be connected with another.
    fn may_meet(&self, slot: usize, other: usize) -> bool {
        let (process, peer) = (&self.processes[slot], &self.processes[other]);
        let is_apart = process.member == peer.member;
        process.is_running() && !is_apart && (process.quarantine.is_none() || self.can_find_out(slot, other))
    }

    /// Makes the connections that are wanted and can be.
    pub(super) fn dial(&mut self) -> Result<(), Stop> {
        self.after(DIAL_MS, Happening::Dial);
        self.look_at_quarantines()?;
        self.look_at_superfluous()?;
        for (one, other) in self.wanted() {
            let now_ms = self.now_ms;
            let way = self.network.way(one, other);
            if way.connection.is_some() || now_ms < way.not_before_ms {
                continue;
            }
            if self.network.is_blocked(one, other) || self.network.is_blocked(other, one) {
                continue;
            }
            if !self.may_meet(one, other) || !self.may_meet(other, one) {
                // A connection made just now has changed that.
                continue;
            }
            let number = self.network.connect(one, other);
            self.coverage.connections += 1;
            self.note(|| format!("{one} and {other} are connected by {number}"));
            for (slot, peer) in [(one, other), (other, one)] {
                self.processes[slot].links.insert(LinkId(number), peer);
                let is_named = Random::new(self.plan.seed, &[21]).chance(500);
                let principal = is_named.then(|| self.processes[peer].member.to_string());
                let nonce = self.fresh.draw();
                self.feed(slot, Input::LinkUp { link: LinkId(number), principal, nonce })?;
            }
        }
        Ok(())
    }

    /// A connection breaks: each end notices after so long.
    pub(super) fn break_connection(&mut self, one: usize, other: usize, for_ms: u64, notice_ms: (u64, u64)) {
        let now_ms = self.now_ms;
        let way = self.network.way(one, other);
        way.not_before_ms = way.not_before_ms.max(now_ms + for_ms);
        let Some(connection) = way.connection.take() else { return };
        self.coverage.breaks += 1;
        let link = LinkId(connection.number);
        self.note(|| format!("{} between {one} and {other} breaks", link.0));
        for (slot, notice_ms) in [(one, notice_ms.0), (other, notice_ms.1)] {
            self.after(notice_ms, Happening::Noticed { slot, link });
        }
    }

    /// A process closes one of its connections at once.
    pub(super) fn close(&mut self, slot: usize, link: LinkId) -> Result<(), Stop> {
        let Some(peer) = self.processes[slot].links.get(&link).copied() else { return Ok(()) };
        if self.network.is_standing(slot, peer, link.0) {
            self.break_connection(slot, peer, 1_000, (0, 50));
        }
        Ok(())
    }

    /// A process is not there any more: its peers notice it in a while.
    pub(super) fn cut_off(&mut self, slot: usize) {
        let links: Vec<_> = std::mem::take(&mut self.processes[slot].links).into_iter().collect();
        for (link, peer) in links {
            if self.network.is_standing(slot, peer, link.0) {
                let mut random = Random::new(self.plan.seed, &[22, link.0]);
                let notice_ms = random.of_any_size(3_000);
                self.break_connection(slot, peer, 100, (0, notice_ms));
            }
        }
    }

    pub(super) fn send(&mut self, slot: usize, link: LinkId, frame: Rc<[u8]>) {
        let Some(peer) = self.processes[slot].links.get(&link).copied() else {
            self.coverage.late += 1;
            return;
        };
        let kind = Frame::read(&frame);
        let fate = self.network.send(self.now_ms, slot, peer, link.0, frame.len());
        let coverage = &mut self.coverage;
        coverage.frames += 1;
        coverage.snapshots += u64::from(kind.is_snapshot);
        coverage.chunks += u64::from(kind.is_chunk);
        coverage.gaps += u64::from(kind.is_gap);
        coverage.frame_bytes += frame.len() as u64;
        coverage.held_up += u64::from(fate.is_held_up);
        coverage.blocked += u64::from(fate.is_blocked);
        coverage.lost += u64::from(fate.arrives_ms.is_empty() && !fate.is_blocked);
        coverage.repeats += u64::from(fate.arrives_ms.len() > 1);
        self.note(|| {
            format!("{slot} sends {peer} {} bytes, to arrive at {:?}", frame.len(), fate.arrives_ms)
        });
        for arrives_ms in fate.arrives_ms {
            let frame = Rc::clone(&frame);
            self.at(arrives_ms, Happening::Frame { from: slot, to: peer, link, frame });
        }
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        link: LinkId,
        frame: Rc<[u8]>,
    ) -> Result<(), Stop> {
        if !self.processes[to].is_running() {
            self.coverage.unheard += 1;
            return Ok(());
        }
        self.coverage.late += u64::from(!self.processes[to].links.contains_key(&link));
        self.note(|| format!("{to} gets {} bytes of {from}", frame.len()));
        self.feed(to, Input::Receive(link, frame)).map(drop)
    }
}
