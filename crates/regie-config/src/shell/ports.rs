//! Who listens on a port: the kernel's table of sockets, and the process that holds the one in question.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::facts::{Holder, TakenPort};
use crate::values::Listen;

/// The listeners among `wanted` that somebody holds already.
pub(super) fn taken(wanted: &[Listen]) -> Vec<TakenPort> {
    // The kernel hands its table out in pieces, and where others come and go meanwhile a row may be passed over.
    const LOOKS: usize = 3;
    let looks = ["/proc/net/tcp", "/proc/net/tcp6"].repeat(LOOKS);
    let table: BTreeSet<(SocketAddr, u64)> = looks
        .into_iter()
        .flat_map(|path| listening(&std::fs::read_to_string(path).unwrap_or_default()))
        .collect();
    wanted
        .iter()
        .filter_map(|listen| match listen {
            Listen::Tcp(address) if address.port() != 0 => Some(address),
            _ => None,
        })
        .filter_map(|address| {
            let (_, inode) = table.iter().find(|(held, _)| collide(*held, *address))?;
            Some(TakenPort { address: address.to_string(), holder: holder(*inode) })
        })
        .collect()
}

/// The process that listens on `address`, where that can be seen.
#[must_use]
pub fn holder_of(address: SocketAddr) -> Option<Holder> {
    taken(&[Listen::Tcp(address)]).pop()?.holder
}

/// Whether a socket bound to `held` keeps `wanted` from being bound.
fn collide(held: SocketAddr, wanted: SocketAddr) -> bool {
    let same_family = held.is_ipv4() == wanted.is_ipv4();
    // A listener on [::] takes the port of 0.0.0.0 too, as long as it is not limited to IPv6.
    let any = |address: SocketAddr| address.ip().is_unspecified();
    held.port() == wanted.port()
        && ((same_family && (held.ip() == wanted.ip() || any(held) || any(wanted)))
            || (held.is_ipv6() && any(held)))
}

/// The listening sockets in the text of `/proc/net/tcp` or `tcp6`, with their inodes.
fn listening(table: &str) -> Vec<(SocketAddr, u64)> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (*fields.get(1)?, *fields.get(3)?, *fields.get(9)?);
        if state != LISTEN {
            return None;
        }
        let (ip, port) = address.split_once(':')?;
        Some((SocketAddr::new(hex_ip(ip)?, u16::from_str_radix(port, 16).ok()?), inode.parse().ok()?))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The kernel prints each 32-bit word of an address in the machine's own byte order.
fn hex_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The process with a descriptor of the socket `inode`; other users' processes are not seen without privilege.
fn holder(inode: u64) -> Option<Holder> {
    let link = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find_map(|pid| {
        let folder = Path::new("/proc").join(pid.to_string());
        let holds = std::fs::read_dir(folder.join("fd"))
            .ok()?
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link.as_str()));
        let name = std::fs::read_to_string(folder.join("comm")).ok().filter(|_| holds)?;
        Some(Holder { pid, program: name.trim_end().to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n   1: 0100007F:1F41 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4243 1\n";
        assert_eq!(listening(v4), [("127.0.0.1:8000".parse().unwrap(), 4242)]);
        let v6 = "header\n   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 77 1\n";
        assert_eq!(listening(v6), [("[::1]:80".parse().unwrap(), 77)]);
        assert_eq!(listening("header\ngarbage\n 1: x:y z 0A\n"), []);
    }

    #[test]
    fn addresses_collide_as_bind_sees_it() {
        for (held, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("[::1]:80", "127.0.0.1:80", false),
            ("127.0.0.1:81", "127.0.0.1:80", false),
        ] {
            assert_eq!(collide(held.parse().unwrap(), wanted.parse().unwrap()), expected, "{held} {wanted}");
        }
    }

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder_of(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap());
    }
}
