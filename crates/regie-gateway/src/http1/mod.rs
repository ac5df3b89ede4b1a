//! HTTP/1.1 (RFC 9112) as bytes, without I/O: request heads, chunked bodies, response heads.
//!
//! It is stricter than a general library, because a gateway that reads a message in another way than the proxy before
//! it lets requests be smuggled between the two: whatever is ambiguous is refused and the connection closed.

pub mod chunked;
pub mod head;
pub mod response;
