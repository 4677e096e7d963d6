//! Transfers in chunks: what has arrived is kept beside the state, for each peer, until all has.

use driftless::{PendingDelta, PendingError};

use crate::cluster::travel::Body;
use crate::cluster::{Cluster, equal};
use crate::history::Part;
use crate::subject::Subject;

/// What has arrived at one replica from one peer of a transfer in chunks.
#[derive(Debug)]
pub(super) struct Transfer<S> {
    /// Whose chunks they are, and where.
    ends: (usize, usize),
    pending: PendingDelta<S>,
    /// The chunks that are gathered.
    gathered: Vec<Vec<u8>>,
    /// Whether the receiver wrote, or merged something else, since the first of them.
    pub(super) is_interleaved: bool,
    /// Whether it forgot something since.
    pub(super) has_forgotten: bool,
    /// Whether it merged a transfer of another peer since.
    pub(super) is_overtaken: bool,
}

impl<S> Transfer<S> {
    fn new(ends: (usize, usize), pending: PendingDelta<S>) -> Self {
        let (is_interleaved, has_forgotten, is_overtaken) = (false, false, false);
        Self { ends, pending, gathered: Vec::new(), is_interleaved, has_forgotten, is_overtaken }
    }

    /// Who receives it.
    pub(super) fn receiver(&self) -> usize {
        self.ends.1
    }

    fn begin(&mut self) {
        self.gathered.clear();
        (self.is_interleaved, self.has_forgotten, self.is_overtaken) = (false, false, false);
    }
}

impl<S: Subject> Cluster<S> {
    /// Takes note of what a replica does, for the transfers to it that are under way.
    pub(super) fn touch(&mut self, at: usize, touch: impl Fn(&mut Transfer<S>)) {
        let under_way = |transfer: &&mut Transfer<S>| transfer.ends.1 == at && !transfer.gathered.is_empty();
        self.transfers.iter_mut().filter(under_way).for_each(touch);
    }

    fn transfer(&mut self, ends: (usize, usize)) -> usize {
        self.transfers.iter().position(|transfer| transfer.ends == ends).unwrap_or_else(|| {
            let pending = PendingDelta::new(&self.nodes[ends.1].replica.config().limits);
            self.transfers.push(Transfer::new(ends, pending));
            self.transfers.len() - 1
        })
    }

    /// Some chunks of a message arrive.
    pub(super) fn deliver_chunks(
        &mut self,
        number: usize,
        at: usize,
        part: Part,
        count: usize,
    ) -> Result<(), String> {
        let message = &self.messages[number];
        let from = message.ends.0;
        let Body::Chunks(chunks) = &message.body else {
            return Ok(());
        };
        let chunks = chunks.clone();
        let next = self.cursors.get(&(number, at)).copied().unwrap_or_default();
        let first = match part {
            Part::Next => next,
            Part::Again => next.saturating_sub(1),
            Part::ButNext => next + 1,
            Part::First => 0,
        };
        let end = first.saturating_add(count).min(chunks.len());
        self.note(format!("chunks {first}..{end} of {} of message {number} arrive at {at}", chunks.len()));
        let place = self.transfer((from, at));
        let is_resumed = !self.transfers[place].gathered.is_empty();
        for index in first..end {
            self.cursors.insert((number, at), index + 1);
            let delta = match self.nodes[at].replica.decode(&chunks[index]) {
                Ok(delta) => delta,
                Err(error) => return self.merge(number, at, Err(error)),
            };
            let transfer = &mut self.transfers[place];
            let was_under_way = !transfer.gathered.is_empty();
            let whole = match transfer.pending.push(delta) {
                Ok(whole) => whole,
                Err(error) => {
                    self.cursors.remove(&(number, at));
                    return self.check_refusal(place, &chunks, index, &error);
                }
            };
            if index == 0 {
                self.coverage.begun_anew += usize::from(was_under_way);
                transfer.begin();
            }
            equal("what chunks were put together", transfer.gathered.as_slice(), &chunks[..index])?;
            transfer.gathered.push(chunks[index].clone());
            let is_last = index + 1 == chunks.len();
            equal("whether the transfer is whole", &whole.is_some(), &is_last)?;
            let Some(delta) = whole else {
                continue;
            };
            transfer.gathered.clear();
            self.cursors.remove(&(number, at));
            let coverage = &mut self.coverage;
            coverage.chunked += usize::from(chunks.len() > 1);
            coverage.resumed += usize::from(is_resumed && first > 0);
            coverage.interleaved += usize::from(transfer.is_interleaved);
            coverage.forgot_meanwhile += usize::from(transfer.has_forgotten);
            coverage.whole_after_another += usize::from(transfer.is_overtaken);
            self.merge(number, at, Ok(delta))?;
            self.touch(at, |transfer| transfer.is_overtaken = true);
        }
        self.means("the vector during a transfer", &self.nodes[at].replica.vector(), &self.nodes[at].vector)
    }

    /// A chunk is refused if it does not follow those before it; they are kept.
    fn check_refusal(
        &mut self,
        place: usize,
        chunks: &[Vec<u8>],
        index: usize,
        error: &PendingError,
    ) -> Result<(), String> {
        let Transfer { pending, gathered, .. } = &self.transfers[place];
        let bytes: usize = gathered.iter().map(Vec::len).sum();
        equal("the bytes of a transfer after a refusal", &pending.bytes(), &bytes)?;
        let next = gathered.len();
        match *error {
            PendingError::OutOfOrder { expected, found }
                if next != index && (expected, found) == (next as u64, index as u64) =>
            {
                self.coverage.out_of_order += 1;
                Ok(())
            }
            PendingError::OtherTransfer if next == index && **gathered != chunks[..index] => {
                self.coverage.other_transfer += 1;
                Ok(())
            }
            _ => Err(format!("chunk {index} after {next} gathered: {error:?}")),
        }
    }
}
