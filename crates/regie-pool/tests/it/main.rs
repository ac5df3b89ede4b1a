//! A pool whose workers sit at the other end of a lane, in threads of this process.

mod lane;
