//! SYNC, REPLICAOF and their like, and the answers of a server that belongs to no cluster.

use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, SYNTAX, shown};
use crate::following::Link;
use crate::session::{Replica, Waiting};

fn send_file(ctx: &mut Ctx<'_>) {
    let client = ctx.client;
    let file = ctx.engine.add_replica(client);
    ctx.out.bytes.extend_from_slice(format!("${}\r\n", file.len()).as_bytes());
    ctx.out.bytes.extend_from_slice(&file);
}

fn check(ctx: &mut Ctx<'_>) -> Outcome {
    if ctx.may_not_block {
        return Err("ERR SYNC is not allowed within a transaction".into());
    }
    Ok(())
}

pub(crate) fn sync(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    check(ctx)?;
    if ctx.session().replica.as_ref().is_none_or(|replica| !replica.is_online) {
        send_file(ctx);
    }
    Ok(())
}

pub(crate) fn psync(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    check(ctx)?;
    integer(args[2])?;
    if ctx.session().replica.as_ref().is_none_or(|replica| !replica.is_online) {
        let line = format!("FULLRESYNC {} {}", ctx.engine.run_id, ctx.engine.replication.offset);
        ctx.out.simple(&line);
        send_file(ctx);
    }
    Ok(())
}

pub(crate) fn replconf(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    for pair in args[1..].chunks(2) {
        match () {
            () if is(pair[0], "ACK") => {
                let client = ctx.client;
                let offset = integer(pair[1]).unwrap_or(0).max(0) as u64;
                ctx.engine.acknowledge(client, offset);
                return Ok(());
            }
            () if is(pair[0], "LISTENING-PORT") => {
                let port = integer(pair[1])?;
                ctx.session().replica.get_or_insert_with(Replica::default).port = port;
            }
            () if is(pair[0], "IP-ADDRESS") => {
                let address = shown(pair[1]);
                ctx.session().replica.get_or_insert_with(Replica::default).address = address;
            }
            () if is(pair[0], "CAPA") || is(pair[0], "RDB-ONLY") || is(pair[0], "RDB-FILTER-ONLY") => {}
            () if is(pair[0], "GETACK") => {
                if let Some(following) = ctx.engine.following.as_ref().filter(|_| ctx.engine.is_from_leader) {
                    let words = following.acknowledgement();
                    ctx.out.bytes.extend_from_slice(&words);
                    ctx.engine.is_pushing = true;
                }
                return Ok(());
            }
            () => return Err(format!("ERR Unrecognized REPLCONF option: {}", shown(pair[0])).into()),
        }
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn replicaof(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if ctx.session().is_replica() {
        return Err("ERR Command is not valid when client is a replica.".into());
    }
    ctx.log_nothing();
    if is(args[1], "NO") && is(args[2], "ONE") {
        ctx.engine.follow_nobody();
        ctx.out.ok();
        return Ok(());
    }
    let port = integer(args[2]).ok().and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or("ERR Invalid master port")?;
    let host = std::str::from_utf8(args[1]).map_err(|_| Failure::from("ERR Invalid master host"))?;
    if ctx.engine.following.as_ref().is_some_and(|following| following.host == host && following.port == port)
    {
        ctx.out.simple("OK Already connected to specified master");
        return Ok(());
    }
    ctx.engine.follow(host, port);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn failover(_ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.get(1).is_some_and(|word| is(word, "ABORT")) {
        return Err("ERR No failover in progress.".into());
    }
    Err("ERR FAILOVER requires connected replicas.".into())
}

/// What every command for clusters answers without one.
pub(crate) fn no_cluster(_ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    Err("ERR This instance has cluster support disabled".into())
}

pub(crate) fn role(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    if let Some(following) = &ctx.engine.following {
        let is_there = following.link == Link::Connected;
        ctx.out.array(5);
        ctx.out.bulk(b"slave");
        ctx.out.bulk(following.host.as_bytes());
        ctx.out.integer(i64::from(following.port));
        ctx.out.bulk(following.link.name().as_bytes());
        ctx.out.integer(if is_there { following.offset as i64 } else { -1 });
        return Ok(());
    }
    let offset = ctx.engine.replication.offset;
    let replicas = ctx.engine.replication.replicas.clone();
    ctx.out.array(3);
    ctx.out.bulk(b"master");
    ctx.out.integer(offset as i64);
    ctx.out.array(replicas.len());
    for id in replicas {
        let session = ctx.engine.session(id);
        let (address, port, acknowledged) = session.replica_place();
        ctx.out.array(3);
        ctx.out.bulk(address.as_bytes());
        ctx.out.bulk(port.to_string().as_bytes());
        ctx.out.bulk(acknowledged.to_string().as_bytes());
    }
    Ok(())
}

pub(crate) fn wait(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wanted = integer(args[1])?;
    let ms = integer(args[2]).map_err(|_| Failure::from("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err("ERR timeout is negative".into());
    }
    if ctx.engine.following.is_some() {
        return Err("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.".into());
    }
    let until = ctx.session().wrote_until;
    let have = ctx.engine.replicas_that_have(until) as i64;
    if have >= wanted {
        ctx.out.integer(have);
        return Ok(());
    }
    if !ctx.block(Waiting::Replicas, &[], (ms > 0).then_some(ms), args) {
        ctx.out.integer(have);
        return Ok(());
    }
    ctx.engine.ask_replicas();
    Ok(())
}
