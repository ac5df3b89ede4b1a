//! Places on the earth as scores of a sorted set.
//!
//! A score is a geohash of 52 bits: latitude and longitude halved 26 times each, the bits interleaved, latitude lowest.
//! Nearby places share leading bits, so a square of the map is a range of scores. A search takes the square that is
//! about as big as what is asked for and its eight neighbours, and leaves out of them what lies too far. Distances are
//! great circles on a ball of the earth's mean radius. All of it is computed in the order in which Redis computes it:
//! the digits must be the same.

/// Latitudes that web maps can show.
pub(crate) const LATITUDE_MOST: f64 = 85.051_128_78;
pub(crate) const LONGITUDE_MOST: f64 = 180.0;
/// Halvings of a score.
const STEPS: u32 = 26;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half the length of the equator in Mercator's projection.
const MERCATOR_MOST: f64 = 20_037_726.37;
const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// A place in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// Spreads 32 bits to every second place.
fn spread(value: u32) -> u64 {
    let mut x = u64::from(value);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555u64),
    ] {
        x = (x | (x << shift)) & mask;
    }
    x
}

/// Gathers every second bit.
fn gather(value: u64) -> u32 {
    let mut x = value & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFFu64),
    ] {
        x = (x | (x >> shift)) & mask;
    }
    x as u32
}

/// A square of the map after some halvings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Square {
    latitude: u32,
    longitude: u32,
    steps: u32,
}

/// The edges of a square in degrees.
struct Edges {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Square {
    /// The square around a place, on a map that reaches `latitude_most` north and south.
    fn around(place: Place, steps: u32, latitude_most: f64) -> Self {
        let parts = (1u64 << steps) as f64;
        let share = |value: f64, most: f64| ((value + most) / (most + most) * parts) as u32;
        Self {
            latitude: share(place.latitude, latitude_most),
            longitude: share(place.longitude, LONGITUDE_MOST),
            steps,
        }
    }

    fn edges(self) -> Edges {
        let parts = (1u64 << self.steps) as f64;
        let edge = |index: u32, most: f64| -most + (f64::from(index) / parts) * (most + most);
        let (latitude, longitude) = (self.latitude, self.longitude);
        Edges {
            west: edge(longitude, LONGITUDE_MOST),
            east: edge(longitude.wrapping_add(1), LONGITUDE_MOST),
            south: edge(latitude, LATITUDE_MOST),
            north: edge(latitude.wrapping_add(1), LATITUDE_MOST),
        }
    }

    fn bits(self) -> u64 {
        spread(self.latitude) | spread(self.longitude) << 1
    }

    /// The square so many to the north and east; the map is round.
    fn neighbour(self, north: i32, east: i32) -> Self {
        let mask = ((1u64 << self.steps) - 1) as u32;
        Self {
            latitude: self.latitude.wrapping_add_signed(north) & mask,
            longitude: self.longitude.wrapping_add_signed(east) & mask,
            steps: self.steps,
        }
    }

    /// The scores within: from, and to but not included.
    fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS - self.steps);
        ((self.bits() << shift) as f64, ((self.bits() + 1) << shift) as f64)
    }
}

/// A place's score.
pub(crate) fn score(place: Place) -> u64 {
    Square::around(place, STEPS, LATITUDE_MOST).bits()
}

/// A score as a whole number. A score that is no geohash is read as the processor converts it for Redis.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if score < HALF {
        return score as i64 as u64;
    }
    let rest = score - HALF;
    (if rest < HALF { rest as i64 } else { i64::MIN }) as u64 ^ 1 << 63
}

/// The middle of a score's square.
pub(crate) fn place(score: f64) -> Place {
    let bits = bits_of(score);
    let square = Square { latitude: gather(bits), longitude: gather(bits >> 1), steps: STEPS };
    let edges = square.edges();
    Place {
        longitude: ((edges.west + edges.east) / 2.0).clamp(-LONGITUDE_MOST, LONGITUDE_MOST),
        latitude: ((edges.south + edges.north) / 2.0).clamp(-LATITUDE_MOST, LATITUDE_MOST),
    }
}

/// The eleven letters that other programs know; the last is always `0`.
pub(crate) fn letters(score: f64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    // They are made on a map from pole to pole.
    let bits = Square::around(place(score), STEPS, 90.0).bits();
    let letter = |index: u32| match index {
        10 => '0',
        index => char::from(ALPHABET[(bits >> (52 - (index + 1) * 5)) as usize & 31]),
    };
    (0..11).map(letter).collect()
}

/// Metres between two places.
pub(crate) fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.longitude * RADIANS - a.longitude * RADIANS) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (from, to) = (a.latitude * RADIANS, b.latitude * RADIANS);
    let u = ((to - from) / 2.0).sin();
    let a = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS_M * a.sqrt().asin()
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (b * RADIANS - a * RADIANS).abs()
}

/// What is searched, in metres.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// A search around a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) centre: Place,
    pub(crate) shape: Shape,
}

impl Area {
    /// The distance from the centre if the place lies within.
    pub(crate) fn reach(&self, place: Place) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => Some(distance(self.centre, place)).filter(|far| *far <= radius),
            Shape::Box { width, height } => {
                let beside = Place { longitude: self.centre.longitude, latitude: place.latitude };
                if latitude_distance(place.latitude, self.centre.latitude) > height / 2.0
                    || distance(place, beside) > width / 2.0
                {
                    return None;
                }
                Some(distance(self.centre, place))
            }
        }
    }

    /// Half the width and height, and the distance of the farthest point.
    fn reaches(&self) -> (f64, f64, f64) {
        match self.shape {
            Shape::Circle { radius } => (radius, radius, radius),
            Shape::Box { width, height } => {
                let (half_width, half_height) = (width / 2.0, height / 2.0);
                (half_width, half_height, (half_width * half_width + half_height * half_height).sqrt())
            }
        }
    }

    /// The box around it in degrees.
    fn bounds(&self) -> Edges {
        let (half_width, half_height, _) = self.reaches();
        let Place { longitude, latitude } = self.centre;
        let up = half_height / EARTH_RADIUS_M / RADIANS;
        let aside = |latitude: f64| half_width / EARTH_RADIUS_M / (latitude * RADIANS).cos() / RADIANS;
        let aside = if latitude < 0.0 { aside(latitude - up) } else { aside(latitude + up) };
        Edges { west: longitude - aside, east: longitude + aside, south: latitude - up, north: latitude + up }
    }

    /// Halvings after which a square is about as big as the area.
    fn steps(&self) -> u32 {
        let (_, _, mut metres) = self.reaches();
        if metres == 0.0 {
            return STEPS;
        }
        let mut steps: i32 = 1;
        while metres < MERCATOR_MOST {
            metres *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Squares are narrow near the poles.
        for latitude in [66.0, 80.0] {
            if self.centre.latitude.abs() > latitude {
                steps -= 1;
            }
        }
        steps.clamp(1, STEPS as i32) as u32
    }

    /// Ranges of scores that hold all of it: from, and to but not included, in the order in which Redis looks.
    pub(crate) fn ranges(&self) -> Vec<(f64, f64)> {
        let bounds = self.bounds();
        let mut steps = self.steps();
        let mut square = Square::around(self.centre, steps, LATITUDE_MOST);
        let is_too_small = square.neighbour(1, 0).edges().north < bounds.north
            || square.neighbour(-1, 0).edges().south > bounds.south
            || square.neighbour(0, 1).edges().east < bounds.east
            || square.neighbour(0, -1).edges().west > bounds.west;
        if steps > 1 && is_too_small {
            steps -= 1;
            square = Square::around(self.centre, steps, LATITUDE_MOST);
        }
        let own = square.edges();
        let needless = |north: i32, east: i32| {
            steps >= 2
                && ((north < 0 && own.south < bounds.south)
                    || (north > 0 && own.north > bounds.north)
                    || (east < 0 && own.west < bounds.west)
                    || (east > 0 && own.east > bounds.east))
        };
        let mut squares: Vec<Square> = Vec::with_capacity(9);
        for (north, east) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)] {
            let next = square.neighbour(north, east);
            // Around the whole earth a neighbour may be the same square again.
            let again = squares.len() > 1 && squares.last() == Some(&next);
            if !needless(north, east) && !again {
                squares.push(next);
            }
        }
        squares.into_iter().map(Square::scores).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = Place { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Place = Place { longitude: 15.087_269, latitude: 37.502_669 };

    #[test]
    fn known_places_have_known_scores() {
        assert_eq!(score(PALERMO), 3_479_099_956_230_698);
        assert_eq!(score(CATANIA), 3_479_447_370_796_909);
        assert_eq!(letters(3_479_099_956_230_698.0), "sqc8b49rny0");
        let far = distance(place(3_479_099_956_230_698.0), place(3_479_447_370_796_909.0));
        assert_eq!(format!("{far:.4}"), "166274.1516");
    }

    #[test]
    fn the_ranges_hold_all_that_lies_within() {
        let mut random = crate::random::Random::new(5);
        let mut somewhere =
            || Place { longitude: random.unit() * 360.0 - 180.0, latitude: random.unit() * 160.0 - 80.0 };
        let places: Vec<Place> = (0..400).map(|_| somewhere()).collect();
        for (index, centre) in places.iter().enumerate().take(60) {
            let far = [1e4, 1e5, 1e6][index % 3];
            let shape = if index % 2 == 0 {
                Shape::Circle { radius: far }
            } else {
                Shape::Box { width: far, height: far }
            };
            let area = Area { centre: *centre, shape };
            let ranges = area.ranges();
            // Redis itself does not look across the date line.
            let crosses = centre.longitude.abs() > 150.0 || centre.latitude.abs() > 70.0;
            for place in places.iter().filter(|place| !crosses && area.reach(**place).is_some()) {
                let score = score(*place) as f64;
                assert!(
                    ranges.iter().any(|(from, to)| (*from..*to).contains(&score)),
                    "{centre:?} {place:?}"
                );
            }
        }
    }
}
