//! The gateway as a client meets it: real sockets, scripted workers, and Debian's php-fpm.

mod client;
mod differential;
mod faults;
mod files;
mod fixture;
mod fpm;
mod hangup;
mod http1;
mod http2;
mod load;
mod php;
mod status;
mod worker;
