<?php // A save handler that was set before the loop stays; one that a request sets does not break the next request.
require_once __DIR__ . '/executor.php';
final class KeptInFile implements SessionHandlerInterface
{
    public function __construct(private string $prefix) {}
    private function file(string $id): string { return sys_get_temp_dir() . '/' . $this->prefix . '-' . $id; }
    public function open(string $path, string $name): bool { return true; }
    public function close(): bool { return true; }
    public function read(string $id): string|false { return is_file($this->file($id)) ? file_get_contents($this->file($id)) : ''; }
    public function write(string $id, string $data): bool { return file_put_contents($this->file($id), $data) !== false; }
    public function destroy(string $id): bool { return true; }
    public function gc(int $max): int|false { return 0; }
}
session_set_save_handler(new KeptInFile('boot'), false);
behave(function () {
    if (isset($_GET['own'])) {
        session_set_save_handler(new KeptInFile('own'), true);
    }
    session_id($_GET['id']);
    session_start();
    $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
    echo $_SESSION['count'];
    session_write_close();
    echo ' ', is_file(sys_get_temp_dir() . '/boot-' . $_GET['id']) ? 'boot' : '', is_file(sys_get_temp_dir() . '/own-' . $_GET['id']) ? 'own' : '';
});
