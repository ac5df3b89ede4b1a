<?php // More scripts than opcache has room for.
require_once __DIR__ . '/executor.php';
behave(function () {
    for ($i = 0; $i < (int) ($_GET['scripts'] ?? 0); $i++) {
        $file = getenv('TMPDIR') . "/filler$i.php";
        file_put_contents($file, "<?php return $i;");
        opcache_compile_file($file);
    }
    echo 'fine ', getmypid();
});
