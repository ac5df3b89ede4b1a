//! Places: members of sorted sets whose scores are geohashes.

use crate::commands::sorted_sets;
use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, SYNTAX};
use crate::geohash::{self, Area, LATITUDE_MOST, LONGITUDE_MOST, Place, Shape};
use crate::number::parse_double;
use crate::structures::sorted_set::SortedSet;
use regie_resp::{Encoder, Version};

fn number(text: &[u8], what: &str) -> Outcome<f64> {
    parse_double(text).ok_or_else(|| Failure::from(format!("ERR {what}")))
}

fn read_place(longitude: &[u8], latitude: &[u8]) -> Outcome<Place> {
    let read = |text| number(text, "value is not a valid float");
    let place = Place { longitude: read(longitude)?, latitude: read(latitude)? };
    if place.longitude.abs() > LONGITUDE_MOST || place.latitude.abs() > LATITUDE_MOST {
        return Err(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            place.longitude, place.latitude
        )
        .into());
    }
    Ok(place)
}

/// Metres of a unit.
fn unit(text: &[u8]) -> Outcome<f64> {
    Ok(match () {
        () if is(text, "M") => 1.0,
        () if is(text, "KM") => 1000.0,
        () if is(text, "FT") => 0.3048,
        () if is(text, "MI") => 1609.34,
        () => return Err("ERR unsupported unit provided. please use M, KM, FT, MI".into()),
    })
}

/// A distance with four digits behind the point.
fn distance_text(distance: f64) -> String {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    format!("{}.{:04}", scaled / 10_000, scaled % 10_000)
}

/// A coordinate as exactly as seventeen digits behind the point can say it.
fn write_coordinate(out: &mut Encoder, value: f64) {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    if out.version == Version::Three {
        out.bytes.extend_from_slice(format!(",{text}\r\n").as_bytes());
    } else {
        out.bulk(text.as_bytes());
    }
}

fn write_place(out: &mut Encoder, place: Place) {
    out.array(2);
    write_coordinate(out, place.longitude);
    write_coordinate(out, place.latitude);
}

pub(crate) fn geoadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let is_option = |word: &&&[u8]| is(word, "NX") || is(word, "XX") || is(word, "CH");
    let options = args[2..].iter().take_while(is_option).count();
    let triples = &args[2 + options..];
    let given = |name| args[2..2 + options].iter().any(|word| is(word, name));
    if !triples.len().is_multiple_of(3) || (given("NX") && given("XX")) {
        return Err(SYNTAX);
    }
    let mut scores = Vec::with_capacity(triples.len() / 3);
    for triple in triples.chunks(3) {
        scores.push(geohash::score(read_place(triple[0], triple[1])?).to_string());
    }
    let mut add: Vec<&[u8]> = args[..2 + options].to_vec();
    for (score, triple) in scores.iter().zip(triples.chunks(3)) {
        add.extend([score.as_bytes(), triple[2]]);
    }
    add[0] = b"ZADD";
    sorted_sets::zadd(ctx, &add)
}

pub(crate) fn geodist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let metres = match args.get(4) {
        None => 1.0,
        Some(_) if args.len() > 5 => return Err(SYNTAX),
        Some(text) => unit(text)?,
    };
    let set = ctx.sorted_set(args[1])?;
    match set.and_then(|set| set.score(args[2]).zip(set.score(args[3]))) {
        None => ctx.out.null(),
        Some((a, b)) => {
            let distance = geohash::distance(geohash::place(a), geohash::place(b));
            ctx.out.bulk(distance_text(distance / metres).as_bytes());
        }
    }
    Ok(())
}

pub(crate) fn geohash(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let set = ctx.engine.sorted_set(ctx.db, args[1])?;
    ctx.out.array(args.len() - 2);
    for name in &args[2..] {
        match set.and_then(|set| set.score(name)) {
            None => ctx.out.null(),
            Some(score) => ctx.out.bulk(geohash::letters(score).as_bytes()),
        }
    }
    Ok(())
}

pub(crate) fn geopos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let set = ctx.engine.sorted_set(ctx.db, args[1])?;
    ctx.out.array(args.len() - 2);
    for name in &args[2..] {
        match set.and_then(|set| set.score(name)) {
            None => ctx.out.null_array(),
            Some(score) => write_place(ctx.out, geohash::place(score)),
        }
    }
    Ok(())
}

/// Which of the commands that search it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// GEORADIUS and GEORADIUSBYMEMBER; `may_store` is false for their read-only forms.
    Radius {
        by_member: bool,
        may_store: bool,
    },
    Search,
    SearchStore,
}

/// What is asked for.
#[derive(Default)]
struct Query<'a> {
    centre: Option<Place>,
    shape: Option<Shape>,
    /// Metres of the unit in which distances are told.
    metres: f64,
    /// The centre is a member of a set that is not there.
    is_lost: bool,
    distances: bool,
    hashes: bool,
    coordinates: bool,
    count: usize,
    any: bool,
    /// Nearest or farthest first.
    ascending: Option<bool>,
    target: Option<&'a [u8]>,
    store_distance: bool,
}

const NOT_A_MEMBER: &str = "ERR could not decode requested zset member";

impl<'a> Query<'a> {
    fn read_member(&mut self, set: Option<&SortedSet>, name: &[u8]) -> Outcome {
        match set {
            None => self.is_lost = true,
            Some(set) => self.centre = Some(geohash::place(set.score(name).ok_or(NOT_A_MEMBER)?)),
        }
        Ok(())
    }

    fn read_circle(&mut self, radius: &[u8], name: &[u8]) -> Outcome {
        let radius = number(radius, "need numeric radius")?;
        if radius < 0.0 {
            return Err("ERR radius cannot be negative".into());
        }
        self.metres = unit(name)?;
        self.shape = Some(Shape::Circle { radius: radius * self.metres });
        Ok(())
    }

    fn read_box(&mut self, width: &[u8], height: &[u8], name: &[u8]) -> Outcome {
        let (width, height) = (number(width, "need numeric width")?, number(height, "need numeric height")?);
        if width < 0.0 || height < 0.0 {
            return Err("ERR height or width cannot be negative".into());
        }
        self.metres = unit(name)?;
        self.shape = Some(Shape::Box { width: width * self.metres, height: height * self.metres });
        Ok(())
    }

    /// The options from `at` on.
    fn read_options(
        &mut self,
        args: &[&'a [u8]],
        mut at: usize,
        command: Command,
        set: Option<&SortedSet>,
    ) -> Outcome {
        let searches = matches!(command, Command::Search | Command::SearchStore);
        let may_store = matches!(command, Command::Radius { may_store: true, .. });
        let (mut from_member, mut from_place) = (false, false);
        let (mut circle, mut rectangle) = (false, false);
        while at < args.len() {
            let (word, left) = (args[at], args.len() - at - 1);
            match () {
                () if is(word, "WITHDIST") => self.distances = true,
                () if is(word, "WITHHASH") => self.hashes = true,
                () if is(word, "WITHCOORD") => self.coordinates = true,
                () if is(word, "ANY") => self.any = true,
                () if is(word, "ASC") => self.ascending = Some(true),
                () if is(word, "DESC") => self.ascending = Some(false),
                () if is(word, "COUNT") && left >= 1 => {
                    let count = integer(args[at + 1])?;
                    self.count = usize::try_from(count).unwrap_or(0);
                    if self.count == 0 {
                        return Err("ERR COUNT must be > 0".into());
                    }
                    at += 1;
                }
                () if (is(word, "STORE") || is(word, "STOREDIST")) && left >= 1 && may_store => {
                    self.target = Some(args[at + 1]);
                    self.store_distance = is(word, "STOREDIST");
                    at += 1;
                }
                () if is(word, "STOREDIST") && command == Command::SearchStore => {
                    self.store_distance = true;
                }
                () if is(word, "FROMMEMBER") && left >= 1 && searches && !from_place => {
                    self.read_member(set, args[at + 1])?;
                    from_member = true;
                    at += 1;
                }
                () if is(word, "FROMLONLAT") && left >= 2 && searches && !from_member => {
                    self.centre = Some(read_place(args[at + 1], args[at + 2])?);
                    from_place = true;
                    at += 2;
                }
                () if is(word, "BYRADIUS") && left >= 2 && searches && !rectangle => {
                    self.read_circle(args[at + 1], args[at + 2])?;
                    circle = true;
                    at += 2;
                }
                () if is(word, "BYBOX") && left >= 3 && searches && !circle => {
                    self.read_box(args[at + 1], args[at + 2], args[at + 3])?;
                    rectangle = true;
                    at += 3;
                }
                () => return Err(SYNTAX),
            }
            at += 1;
        }
        Ok(())
    }

    /// Refuses what does not go together.
    fn check(&self, command: Command, name: &[u8]) -> Outcome {
        let name = crate::failure::shown(name);
        let searches = matches!(command, Command::Search | Command::SearchStore);
        if self.target.is_some() && (self.distances || self.hashes || self.coordinates) {
            let what = if searches { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )
            .into());
        }
        if searches && self.centre.is_none() && !self.is_lost {
            return Err(
                format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}").into()
            );
        }
        if searches && self.shape.is_none() {
            return Err(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}").into());
        }
        if self.any && self.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(())
    }
}

/// A member that was found.
struct Found {
    name: Vec<u8>,
    score: f64,
    place: Place,
    distance: f64,
}

/// All members within the area, at most `limit` (0: all).
fn find(set: &SortedSet, area: &Area, limit: usize) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (from, to) in area.ranges() {
        let start = set.partition_point(|member| member.score < from);
        let end = set.partition_point(|member| member.score < to).max(start);
        for member in set.range(start, end, false) {
            let place = geohash::place(member.score);
            if let Some(distance) = area.reach(place) {
                found.push(Found { name: member.name.to_vec(), score: member.score, place, distance });
                if limit > 0 && found.len() >= limit {
                    return found;
                }
            }
        }
    }
    found
}

fn search(ctx: &mut Ctx<'_>, args: &[&[u8]], command: Command) -> Outcome {
    let source = if command == Command::SearchStore { args[2] } else { args[1] };
    let set = ctx.engine.sorted_set(ctx.db, source)?;
    let mut query = Query { metres: 1.0, ..Query::default() };
    let options = match command {
        Command::Radius { by_member: true, .. } => {
            query.read_member(set, args[2])?;
            if set.is_some() {
                query.read_circle(args[3], args[4])?;
            }
            5
        }
        Command::Radius { by_member: false, .. } => {
            query.centre = Some(read_place(args[2], args[3])?);
            query.read_circle(args[4], args[5])?;
            6
        }
        Command::Search => 2,
        Command::SearchStore => {
            query.target = Some(args[1]);
            3
        }
    };
    query.read_options(args, options, command, set)?;
    query.check(command, args[0])?;
    let mut found = match (set, query.centre, query.shape) {
        (Some(set), Some(centre), Some(shape)) => {
            find(set, &Area { centre, shape }, if query.any { query.count } else { 0 })
        }
        _ => Vec::new(),
    };
    // The nearest are wanted when not all are.
    let ascending = query.ascending.or((query.count > 0 && !query.any).then_some(true));
    match ascending {
        Some(true) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
        Some(false) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
        None => {}
    }
    if query.count > 0 {
        found.truncate(query.count);
    }
    match query.target {
        Some(target) => {
            let score = |found: &Found| {
                if query.store_distance { found.distance / query.metres } else { found.score }
            };
            let members = found.iter().map(|found| (found.name.clone(), score(found))).collect();
            let event = if command == Command::SearchStore { "geosearchstore" } else { "georadiusstore" };
            sorted_sets::store(ctx, target, members, event);
        }
        None => write_found(ctx.out, &found, &query),
    }
    Ok(())
}

fn write_found(out: &mut Encoder, found: &[Found], query: &Query<'_>) {
    let extras = usize::from(query.distances) + usize::from(query.hashes) + usize::from(query.coordinates);
    out.array(found.len());
    for member in found {
        if extras > 0 {
            out.array(extras + 1);
        }
        out.bulk(&member.name);
        if query.distances {
            out.bulk(distance_text(member.distance / query.metres).as_bytes());
        }
        if query.hashes {
            out.integer(member.score as i64);
        }
        if query.coordinates {
            write_place(out, member.place);
        }
    }
}

pub(crate) fn georadius(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::Radius { by_member: false, may_store: true })
}

pub(crate) fn georadius_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::Radius { by_member: false, may_store: false })
}

pub(crate) fn georadiusbymember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::Radius { by_member: true, may_store: true })
}

pub(crate) fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::Radius { by_member: true, may_store: false })
}

pub(crate) fn geosearch(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::Search)
}

pub(crate) fn geosearchstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    search(ctx, args, Command::SearchStore)
}
