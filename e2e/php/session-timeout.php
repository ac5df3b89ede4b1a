<?php // A session that is open when the request's time is up is written and closed.
require_once __DIR__ . '/executor.php';
final class Told implements SessionHandlerInterface
{
    public function open(string $path, string $name): bool { return true; }
    public function close(): bool { return $this->tell('closed'); }
    public function read(string $id): string|false { return ''; }
    public function write(string $id, string $data): bool { return $this->tell("wrote $data"); }
    public function destroy(string $id): bool { return true; }
    public function gc(int $max): int|false { return 0; }
    private function tell(string $what): bool { return file_put_contents($_GET['to'], "$what\n", FILE_APPEND) !== false; }
}
behave(function () {
    session_set_save_handler(new Told(), true);
    session_start();
    $_SESSION['name'] = 'ada';
    for (;;) {
    }
});
