//! The crate's public face: whole folders in, reports and effective values out.

mod cases;
mod checks;
mod dotenv_parity;
mod faults;
mod folder;
mod mutations;
mod reference;
