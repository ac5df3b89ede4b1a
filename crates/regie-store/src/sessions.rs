//! The clients' sessions by id.
//!
//! A command asks for its client's session about ten times, so the last one found is remembered: all but the first look
//! cost a comparison. Ids are never used twice, places are.

use crate::engine::FastMap;
use crate::session::{ClientId, Session};
use std::cell::Cell;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    places: Vec<Option<Box<Session>>>,
    free: Vec<usize>,
    by_id: FastMap<ClientId, usize>,
    /// The last one found, and its place. No client has the id 0 that it begins with, and no place is there then.
    last: Cell<(ClientId, usize)>,
}

impl Sessions {
    #[inline]
    fn place(&self, id: ClientId) -> Option<usize> {
        let (last, place) = self.last.get();
        if last == id && id != 0 { Some(place) } else { self.look_up(id) }
    }

    #[cold]
    fn look_up(&self, id: ClientId) -> Option<usize> {
        let place = *self.by_id.get(&id)?;
        self.last.set((id, place));
        Some(place)
    }

    pub(crate) fn get(&self, id: &ClientId) -> Option<&Session> {
        self.places[self.place(*id)?].as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: &ClientId) -> Option<&mut Session> {
        let place = self.place(*id)?;
        self.places[place].as_deref_mut()
    }

    /// The session, made by `make` if it is not there.
    pub(crate) fn get_or_insert_with(
        &mut self,
        id: ClientId,
        make: impl FnOnce() -> Session,
    ) -> &mut Session {
        let place = self.place(id).unwrap_or_else(|| self.insert(id));
        self.places[place].get_or_insert_with(|| Box::new(make()))
    }

    /// A place for a session that is not there yet.
    fn insert(&mut self, id: ClientId) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.by_id.insert(id, place);
        place
    }

    pub(crate) fn remove(&mut self, id: &ClientId) {
        let Some(place) = self.by_id.remove(id) else { return };
        self.places[place] = None;
        self.free.push(place);
        self.last.set((0, 0));
    }

    pub(crate) fn contains_key(&self, id: &ClientId) -> bool {
        self.place(*id).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().flatten().map(|session| &**session)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.places.iter_mut().flatten().map(|session| &mut **session)
    }
}

impl std::ops::Index<&ClientId> for Sessions {
    type Output = Session;
    fn index(&self, id: &ClientId) -> &Session {
        match self.get(id) {
            Some(session) => session,
            None => panic!("client {id} has no session"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Peer;

    fn join(sessions: &mut Sessions, id: ClientId) {
        sessions.get_or_insert_with(id, || Session::new(id, Peer::default(), 0, true));
    }

    /// What was remembered of a client that has gone is not taken for the one that has its place now.
    #[test]
    fn a_place_used_again_belongs_to_the_new_client() {
        let mut sessions = Sessions::default();
        join(&mut sessions, 1);
        join(&mut sessions, 2);
        assert_eq!(sessions.get(&1).map(|session| session.id), Some(1));
        sessions.remove(&1);
        assert!(sessions.get(&1).is_none());
        join(&mut sessions, 3);
        assert!(!sessions.contains_key(&1));
        assert_eq!(sessions.get_mut(&3).map(|session| session.id), Some(3));
        assert_eq!(sessions.values().map(|session| session.id).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(sessions.len(), 2);
        join(&mut sessions, 0);
        assert_eq!(sessions.get(&0).map(|session| session.id), Some(0));
    }
}
