//! Users and what they may do.

use crate::command::CommandId;
use crate::engine::Engine;
use crate::failure::Outcome;
use crate::session::ClientId;

/// All users.
#[derive(Debug, Default)]
pub(crate) struct Users {
    password: Vec<u8>,
}

impl Users {
    pub(crate) fn set_default_password(&mut self, password: &[u8]) {
        self.password = password.to_vec();
    }

    pub(crate) fn default_needs_no_password(&self) -> bool {
        self.password.is_empty()
    }

    pub(crate) fn authenticate(&self, user: &[u8], password: &[u8]) -> bool {
        user == b"default" && (self.password.is_empty() || self.password == password)
    }
}

impl Users {
    pub(crate) fn exists(&self, user: &[u8]) -> bool {
        user == b"default"
    }
}

impl Engine {
    pub(crate) fn log_denied_login(&mut self, _client: ClientId, _user: &[u8]) {}

    pub(crate) fn check_rights(
        &mut self,
        _client: ClientId,
        _id: CommandId,
        _arguments: &[&[u8]],
    ) -> Outcome {
        Ok(())
    }
}
