//! Users, their rules and their file, over real connections.

use crate::server::Store;

/// Lines said by one client, and what each must answer with or begin with.
fn check(store: &Store, lines: &[(&str, &str)]) {
    let mut client = store.client();
    for (line, expect) in lines {
        let found = client.line(line);
        assert!(found.starts_with(expect), "{line}: {found}, not {expect}");
    }
}

#[test]
fn users_do_what_their_rules_allow() {
    let store = Store::start(None, &[]);
    check(
        &store,
        &[
            ("ACL SETUSER shop on >secret ~shop:* +@string +multi +exec +eval", "OK"),
            ("ACL SETUSER shop ~x +nosuch", "-ERR Error in ACL SETUSER modifier '+nosuch'"),
            ("AUTH shop wrong", "-WRONGPASS"),
            ("AUTH shop secret", "OK"),
            ("SET shop:1 a", "OK"),
            (
                "SET other a",
                "-NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
            ("DEL shop:1", "-NOPERM this user has no permissions to run the 'del' command"),
            ("EVAL redis.call('get','other') 0", "-ERR The user executing the script"),
            ("MULTI", "OK"),
            ("SET other a", "-NOPERM"),
            ("EXEC", "-EXECABORT"),
            ("ACL WHOAMI", "-NOPERM"),
        ],
    );
    let mut admin = store.client();
    let log = admin.line("ACL LOG");
    for part in ["shop", "lua", "multi", "toplevel", "auth", "other"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert_eq!(admin.line("ACL DRYRUN shop GET shop:1"), "OK");
    let (a, b) = (admin.line("ACL GENPASS"), admin.line("ACL GENPASS"));
    assert!(a != b && a.len() == 64, "{a} {b}");
}

#[test]
fn the_file_of_users_is_read_written_and_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.acl");
    std::fs::write(&file, "user default on nopass ~* &* +@all\nuser bob on >pw ~b* +get (+set ~w*)\n")
        .unwrap();
    let settings = [("aclfile", "users.acl")];
    let store = Store::start(Some(dir.path()), &settings);
    check(
        &store,
        &[
            ("ACL SETUSER eve on nopass +ping", "OK"),
            ("ACL SAVE", "OK"),
            ("AUTH bob pw", "OK"),
            ("GET b1", "nil"),
            ("SET w1 x", "OK"),
            ("SET b1 x", "-NOPERM"),
        ],
    );
    assert!(std::fs::read_to_string(&file).unwrap().contains("user eve on nopass"));
    std::fs::write(&file, "user alice on\nuser alice on\n").unwrap();
    check(&store, &[("ACL LOAD", "-ERR WARNING: Duplicate user 'alice'"), ("AUTH eve x", "OK")]);
    drop(store);
    let error = Store::try_start(Some(dir.path()), &settings).err().unwrap();
    assert!(error.contains("Duplicate user 'alice' found on line 2"), "{error}");
}
