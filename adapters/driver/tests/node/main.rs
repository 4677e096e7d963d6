//! Nodes with their stores and links, as an application sees them.

mod durability;
mod failing;
mod feed;
mod links;
mod names;
mod opening;
mod regions;
mod replication;
mod stopping;
