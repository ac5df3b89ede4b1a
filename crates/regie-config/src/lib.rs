//! Reads everything that says how an application is to be served.
//!
//! In reading order: what a person wrote (`document`, [`schema`], [`values`], [`settings`]) and what is wrong
//! with it ([`fault`]); what lies in the application's folder ([`files`], [`composer`], [`application`], [`dotenv`]);
//! where the addresses lead that it names ([`addresses`]), its [`store`] and what it closes ([`htaccess`]); all of it together ([`load`]); and what a person should
//! know or repair ([`check`], from [`facts`]). These parts are pure; [`shell`] reads the machine for them.
#![forbid(unsafe_code)]

pub mod fault;

mod document;
pub mod reference;
pub mod schema;
pub mod settings;
pub mod values;
pub mod workers;

pub mod application;
pub mod composer;
pub mod dotenv;
pub mod files;

pub mod addresses;
pub mod check;
pub mod facts;
pub mod first_steps;
pub mod htaccess;
pub mod load;
pub mod php_config;
pub mod shell;
pub mod store;

pub use addresses::{Available, Decision, StoreAddress};
pub use application::Application;
pub use check::{Finding, Severity};
pub use fault::{Fault, Faults, Place};
pub use load::{Loaded, Options};
pub use schema::{Origin, Shown};
pub use settings::{Config, Pool, Program};
pub use store::StoreFiles;
