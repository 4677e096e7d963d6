//! What a peer may do.

/// What the peer at the other end of a link may do, as whoever runs this endpoint decides. See
/// [`Endpoint::grant`](crate::Endpoint::grant).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Access {
    /// It is sent all that is held, and nothing that it says is taken: no write, no word of others, no membership. It is waited
    /// for by nobody. Its id must be its own: nothing was ever written under it, and it is no member.
    Read,
    /// It may become a member, and what it writes or passes on is taken.
    ReadWrite,
}
