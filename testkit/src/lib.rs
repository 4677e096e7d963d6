//! What the tests, fuzz targets and benches of driftless share.

pub mod cluster;
pub mod fuzz;
pub mod history;
pub mod json;
pub mod model;
pub mod oracle;
pub mod samples;
pub mod schema;
pub mod sim;
pub mod subject;
pub mod trace;
pub mod wire;
