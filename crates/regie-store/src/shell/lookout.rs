//! Whether the loop looks for more work for a moment before it sleeps.
//!
//! To sleep and be woken costs more than most commands: this side gives its processor up and takes it again, and the
//! client whose request ends the sleep pays for the waking (on a virtual machine, an interrupt sent to another processor).
//! A loop that is faster than its clients sleeps the more often the faster it is, and so slows them down. Where looking for
//! [`LOOK_US`] finds the next request it costs nothing: the time would have gone into the sleep.
//!
//! Where it finds nothing it is waste, so it is given up quickly: after each look in vain the loop sleeps at once the next
//! time, then the next two times, four, up to [`REST_MAX`]. A store with little to do, or one that shares its only processor
//! with its clients, so looks once in 65 turns. (redis-server's second thread looks all the time.)

/// Microseconds of a look: about what sleeping and waking take.
pub(super) const LOOK_US: u64 = 25;
/// Turns without a look at most.
const REST_MAX: u32 = 64;

/// What the last looks have told.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// Turns that go by without a look after the next one in vain.
    rest: u32,
    /// How many of them are left.
    resting: u32,
}

impl Lookout {
    /// Whether to look before this sleep.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.resting == 0;
        self.resting = self.resting.saturating_sub(1);
        due
    }

    /// A look has found something, or nothing.
    pub(super) fn looked(&mut self, found: bool) {
        self.rest = if found { 0 } else { (2 * self.rest).clamp(1, REST_MAX) };
        self.resting = self.rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of a number of turns, each of which finds something or not.
    fn looks(lookout: &mut Lookout, turns: u32, found: bool) -> u32 {
        (0..turns).filter(|_| lookout.is_due().then(|| lookout.looked(found)).is_some()).count() as u32
    }

    #[test]
    fn what_finds_goes_on_looking() {
        assert_eq!(looks(&mut Lookout::default(), 1000, true), 1000);
    }

    #[test]
    fn what_finds_nothing_rests_longer_and_longer() {
        let mut lookout = Lookout::default();
        let each = [1, 1, 2, 4, 8, 16, 32, 64, 64].map(|turns| looks(&mut lookout, turns.max(1), false));
        assert!(each.iter().all(|&looks| looks <= 1), "{each:?}");
        assert_eq!(looks(&mut lookout, 65 * 100, false), 100, "once in 65 turns");
    }

    #[test]
    fn one_find_ends_the_rest() {
        let mut lookout = Lookout::default();
        looks(&mut lookout, 10_000, false);
        while !lookout.is_due() {}
        lookout.looked(true);
        assert_eq!(looks(&mut lookout, 10, true), 10);
    }
}
