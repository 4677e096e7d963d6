//! The three regions and the distances between them.

use driftless::ReplicaId;
use uuid::Uuid;

use crate::random::Random;

/// How many regions there are.
pub(crate) const COUNT: usize = 3;

/// A region, by its place in [`REGIONS`].
pub(crate) type Index = usize;

/// The region that is cut off in the middle of the job.
pub(crate) const CUT_OFF: Index = 2;

/// A place where a replica runs.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) name: &'static str,
    pub(crate) place: &'static str,
    lat: f64,
    lon: f64,
}

pub(crate) const REGIONS: [Region; COUNT] = [
    Region { name: "eu", place: "Frankfurt", lat: 50.11, lon: 8.68 },
    Region { name: "us", place: "Virginia", lat: 39.04, lon: -77.49 },
    Region { name: "ap", place: "Singapore", lat: 1.35, lon: 103.82 },
];

/// The links, each with its one-way delay in milliseconds.
pub(crate) const LINKS: [(Index, Index, u64); 3] = [(0, 1, 40), (1, 2, 75), (0, 2, 110)];

/// The one-way delay between two regions, in milliseconds.
pub(crate) fn delay_ms(a: Index, b: Index) -> u64 {
    let link = LINKS.iter().find(|(x, y, _)| (*x, *y) == (a.min(b), a.max(b)));
    link.map_or(0, |(_, _, delay)| *delay)
}

/// The ordered pairs of regions: from, to.
pub(crate) fn pairs() -> impl Iterator<Item = (Index, Index)> {
    (0..COUNT).flat_map(|from| (0..COUNT).filter(move |to| *to != from).map(move |to| (from, to)))
}

/// Who belongs together. An application draws these numbers at random; here they follow from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) id: Uuid,
    /// The ids under which the regions write. A region that is started again takes a new one.
    pub(crate) ids: [ReplicaId; COUNT],
    /// The ids of their stores, the same for ever.
    pub(crate) members: [ReplicaId; COUNT],
}

impl Cluster {
    pub(crate) fn of(seed: u64) -> Self {
        let number = |stream| {
            let mut random = Random::new(seed, stream);
            u128::from(random.next()) << 64 | u128::from(random.next())
        };
        let ids = |stream| std::array::from_fn(|region| ReplicaId::from_u128(number(stream + region as u64)));
        Self { id: Uuid::from_u128(number(0x1c00)), ids: ids(0x1d00), members: ids(0x1e00) }
    }
}

/// The region nearest to a place, along the great circle.
pub(crate) fn nearest(lat: f64, lon: f64) -> Index {
    let distance = |region: &Region| great_circle((lat, lon), (region.lat, region.lon));
    let order = |a: &Index, b: &Index| distance(&REGIONS[*a]).total_cmp(&distance(&REGIONS[*b]));
    (0..COUNT).min_by(order).unwrap_or(0)
}

/// The angle between two places given in degrees, in radians (the haversine formula).
fn great_circle(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let chord = half(lat_b - lat_a) + lat_a.cos() * lat_b.cos() * half((b.1 - a.1).to_radians());
    2.0 * chord.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_are_near_the_region_of_their_continent() {
        assert_eq!(REGIONS[nearest(51.5, -0.1)].name, "eu");
        assert_eq!(REGIONS[nearest(40.6, -73.8)].name, "us");
        assert_eq!(REGIONS[nearest(35.6, 139.8)].name, "ap");
        assert_eq!(REGIONS[nearest(-18.1, 178.4)].name, "ap");
    }
}
