//! Sessions between endpoints, on a bench where the test holds the clock and the network.

mod audit;
mod flow;
mod handshake;
mod identity;
mod net;
mod tokens;
mod transfer;
