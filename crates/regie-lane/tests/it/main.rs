//! The lane between real processes and a real tokio runtime.

#[cfg(not(miri))]
mod bodies;
#[cfg(not(miri))]
mod damage;
#[cfg(not(miri))]
mod deaths;
#[cfg(not(miri))]
mod estate;
#[cfg(not(miri))]
mod heirs;
#[cfg(not(miri))]
mod process;
#[cfg(not(miri))]
mod seats;
mod threads;
#[cfg(not(miri))]
mod torture;
