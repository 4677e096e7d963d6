//! What a decoder accepts.

/// The most that a message may hold. Whatever exceeds a limit is refused with an error, before memory is taken for it.
///
/// The limits are of the receiver; writing knows none of them. A cluster should agree on them: what one replica may write and
/// ship, all must accept. What a receiver refuses stays refused until it is overwritten or removed, or the limit raised.
///
/// They are made with `..Limits::default()`: a later version may have more fields.
///
/// # Example
/// ```
/// use driftless::{Config, DecodeError, Limits, LwwRegister, MergeError, Replica, ReplicaId};
///
/// let limits = Limits { text_bytes: 280, ..Limits::default() };
/// let config = Config { limits, ..Config::default() };
/// let mut us: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(2), config);
/// let mut eu: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(1), Config::default());
///
/// eu.write(1_000, |note| note.set("x".repeat(281)))?;
/// let bytes = eu.delta_since(&us.vector()).encode()?;
/// let limit = DecodeError::Limit { limit: "text_bytes", allowed: 280 };
/// assert_eq!(us.decode(&bytes).err(), Some(MergeError::Decode(limit)));
///
/// eu.write(1_001, |note| note.set("short"))?;
/// let bytes = eu.delta_since(&us.vector()).encode()?;     // what was overwritten is not shipped
/// us.merge(1_002, us.decode(&bytes)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message. 64 MiB unless set.
    pub message_bytes: usize,
    /// Bytes of one transfer in chunks, all together. 1 GiB unless set.
    pub transfer_bytes: usize,
    /// Memory for what one message holds, in bytes: rows, entries, marks and the elements of lists. Texts, which take as many
    /// bytes as on the wire, do not count. A row of a large struct may be written in a few bytes and takes the size of that
    /// struct. 1 GiB unless set.
    pub memory_bytes: usize,
    /// Levels of nesting, of maps and of values. 64 unless set.
    pub depth: usize,
    /// Elements of one message together: keys and values of maps, registers, flags, counters, concurrent values and marks of
    /// these, events, and what stands in lists and maps within values. 16 Mi unless set.
    pub elements: usize,
    /// Concurrent values of one register or flag. 1,024 unless set.
    pub siblings: usize,
    /// Bytes of one text, byte string or key. 16 MiB unless set.
    pub text_bytes: usize,
    /// Replica ids in one message, beside [closed](crate::Replica::close) ones, of which there may be 65,536. 4,096 unless set,
    /// and never more.
    pub replicas: usize,
}

impl Limits {
    /// The greatest number of replica ids in one message, closed ones left out, whatever the limits say.
    pub const MAX_REPLICAS: usize = 4096;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            transfer_bytes: 1 << 30,
            memory_bytes: 1 << 30,
            depth: 64,
            elements: 16 << 20,
            siblings: 1024,
            text_bytes: 16 << 20,
            replicas: Self::MAX_REPLICAS,
        }
    }
}
