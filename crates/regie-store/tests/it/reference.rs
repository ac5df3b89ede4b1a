//! The page that lists the commands is written from the table.

use std::path::Path;

#[test]
fn the_page_of_commands_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/store-commands.md");
    let page = regie_store::reference();
    if std::env::var_os("REGIE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference/store-commands.md is old: REGIE_UPDATE=1 cargo test -p regie-store reference"
    );
}
