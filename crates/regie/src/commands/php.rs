//! `regie php …`: the application's PHP, and what can be asked of it.

use regie_core::Exit;

use crate::commands::run;
use crate::site::Place;

/// `info`, `versions` and `opcache` are questions of our own; everything else goes to PHP.
pub(crate) fn php(place: &Place, words: Vec<String>) -> Exit {
    let command: Vec<String> = std::iter::once("php".to_owned()).chain(words).collect();
    run::run(place, "jobs", &command)
}
