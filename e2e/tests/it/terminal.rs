//! Commands that ask and are answered in a terminal: `regie artisan tinker` and its like.

use regie_e2e::{App, Terminal};

/// What a terminal shows for 7 × 6 must not be what was typed.
const SUM: &str = "str_repeat('ab', 3) . 7 * 6";
const VALUE: &str = "ababab42";

/// Commands that talk, added to those of the example. `tinker` is no part of Debian's Laravel: this one does what it does
/// with a terminal (readline, an expression a line, in the booted application, until the end of input).
const TALKING: &str = r#"<?php
use Illuminate\Support\Facades\Artisan;

Artisan::command('tinker', function () {
    if (!stream_isatty(STDIN) || !stream_isatty(STDOUT)) {
        $this->error('no terminal');
        return 9;
    }
    while (($line = readline('> ')) !== false) {
        readline_add_history($line);
        $this->line('= ' . var_export(eval("return $line;"), true));
    }
    $this->line('Goodbye.');
});

Artisan::command('people:greet', function () {
    $name = $this->ask('Who are you?');
    $word = $this->secret('And the password?');
    if (!$this->confirm("Shall I say it, $name?")) {
        return 3;
    }
    $this->line('It has ' . strlen($word) . ' letters.');
});
"#;

fn laravel() -> App {
    let app = App::named("laravel-ready");
    app.write("routes/console.php", TALKING);
    app
}

#[test]
fn tinker_answers_in_a_terminal() {
    let app = laravel();
    let mut terminal = Terminal::regie(app.path(), "artisan tinker");
    terminal.shows("> ");
    terminal.type_in(&format!("{SUM}\n"));
    terminal.shows(&format!("= '{VALUE}'"));
    terminal.type_in("app()->version()[0] . '-' . config('app.env')\n");
    terminal.shows("= '8-production'");
    terminal.type_in("\x04");
    terminal.shows("Goodbye.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_command_asks_and_keeps_what_is_secret_off_the_screen() {
    let app = laravel();
    let mut terminal = Terminal::regie(app.path(), "artisan people:greet");
    terminal.shows("Who are you?");
    terminal.type_in("Ada\n");
    terminal.shows("And the password?");
    terminal.stops_echoing();
    terminal.type_in("enigma\n");
    terminal.shows("Shall I say it, Ada?");
    terminal.type_in("yes\n");
    terminal.shows("It has 6 letters.");
    assert_eq!(terminal.ends(), 0);
    assert!(!terminal.screen().contains("enigma"), "{}", terminal.screen());
}

#[test]
fn php_is_interactive_and_ctrl_c_ends_it() {
    let app = App::empty();
    app.write("index.php", "<?php echo 'hi';");
    let mut terminal = Terminal::regie(app.path(), "php -a");
    terminal.shows("php > ");
    terminal.type_in(&format!("echo {SUM};\n"));
    terminal.shows(VALUE);
    terminal.type_in("\x04");
    assert_eq!(terminal.ends(), 0);

    let mut asleep = Terminal::regie(app.path(), r#"php -r 'echo "aw", "ake"; sleep(600);'"#);
    asleep.shows("awake");
    asleep.type_in("\x03");
    assert_eq!(asleep.ends(), 130);
}
