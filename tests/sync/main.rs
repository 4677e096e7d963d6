//! Sessions between endpoints, on a bench where the test holds the clock and the network.

mod access;
mod audit;
mod bookkeeping;
mod clocks;
mod copies;
mod cost;
mod counters;
mod dice;
mod flow;
mod forge;
mod forged;
mod handshake;
mod hostile;
mod identity;
mod membership;
mod net;
mod partitions;
mod quiescence;
mod removals;
mod restarts;
mod status;
mod subscriptions;
mod tokens;
mod transfer;
