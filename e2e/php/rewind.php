<?php // Soils a process. In rewind mode each request finds it clean.
final class Kept
{
    public static int $times = 0;
}
date_default_timezone_set('UTC');
umask(022);
putenv('KEPT=boot');
$count = 0;
mt_srand(7);
regie_checkpoint();
$seen = [++$count, ++Kept::$times, count(get_included_files()) - 1, date_default_timezone_get(), getenv('KEPT'), decoct(umask())];
$random = [mt_rand(), lcg_value(), uniqid('', true), bin2hex(openssl_random_pseudo_bytes(8))];
echo getmypid(), ' ', implode(',', $seen), ' ', implode(' ', $random);
if (isset($_GET['leave'])) {
    date_default_timezone_set('Asia/Tokyo');
    umask(077);
    putenv('KEPT=request');
    chdir('/');
    setlocale(LC_ALL, 'C.UTF-8');
    ini_set('precision', '3');
    set_error_handler(fn () => true);
    require_once __DIR__ . '/executor.php';
    $GLOBALS['leak'] = str_repeat('x', 5_000_000);
    Kept::$times += 10;
    $open = fopen(__FILE__, 'r');
}
